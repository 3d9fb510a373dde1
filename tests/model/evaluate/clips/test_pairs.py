import itertools
from pathlib import Path

import pytest
import torch
from untrained import save_run

from seqviews.model.evaluate.clips.metrics import accuracy, factor_scores
from seqviews.model.evaluate.clips.pairs import PairHead, part_probabilities, parts_of, top_two_accuracy
from seqviews.model.evaluate.evaluation import EvaluateConfig, evaluate
from seqviews.model.train.runs import Run

PAIRS = list(itertools.combinations_with_replacement(range(10), 2))
NAMES = [f"{a}+{b}" for a, b in PAIRS]


def numbers() -> torch.Tensor:
    found = parts_of(NAMES)
    assert found is not None
    return found


def test_parts_of_classes() -> None:
    assert numbers().tolist() == [list(pair) for pair in PAIRS]
    for classes in (None, [], ["3", "4"], ["1+2", "1"], ["1+2+3"]):
        assert parts_of(classes) is None


def test_logits_of_pairs_are_sums_of_their_parts() -> None:
    torch.manual_seed(0)
    head, features = PairHead(6, numbers()), torch.randn(3, 6)
    scores = head.scores(features).tolist()
    for row, logits in zip(scores, head(features).tolist(), strict=True):
        expected = [row[10 + a] if a == b else row[a] + row[b] for a, b in PAIRS]
        assert logits == pytest.approx(expected, abs=1e-6)


@pytest.fixture
def probabilities() -> torch.Tensor:
    return (torch.rand(200, 55, generator=torch.Generator().manual_seed(0)) * 12).softmax(1)


def test_the_two_highest_of_ten_equal_a_naive_loop(probabilities: torch.Tensor) -> None:
    labels = torch.cat([probabilities[:150].argmax(1), torch.arange(50)])
    right, equal = 0, 0
    for row, label, ten in zip(
        probabilities.tolist(), labels.tolist(), part_probabilities(probabilities, numbers()).tolist(), strict=True
    ):
        outputs = [sum(p for p, pair in zip(row, PAIRS, strict=True) if digit in pair) for digit in range(10)]
        assert ten == pytest.approx(outputs, abs=1e-5)
        highest = sorted(range(10), key=outputs.__getitem__)[-2:]
        right += sorted(highest) == list(PAIRS[label])
        equal += PAIRS[label][0] == PAIRS[label][1]
    assert top_two_accuracy(probabilities, labels, numbers()) == pytest.approx(right / 200)
    assert 20 < right < 150
    assert equal > 10


def test_a_certain_judge_is_right_about_all_but_equal_parts() -> None:
    truth = torch.arange(55)
    certain = torch.eye(55)
    assert accuracy(certain, truth) == 1.0
    assert top_two_accuracy(certain, truth, numbers()) == pytest.approx(45 / 55)


def test_only_pairs_have_the_second_accuracy(probabilities: torch.Tensor) -> None:
    judged = {"digits": probabilities, "hair": probabilities}
    truth, classes = dict.fromkeys(judged, torch.zeros(200, dtype=torch.int64)), {"digits": NAMES, "hair": None}
    scores = factor_scores(judged, truth, classes)
    assert scores.keys() - factor_scores(judged, truth).keys() == {"digits/top_two_accuracy"}
    assert "digits/top_two_accuracy" not in factor_scores(judged, {}, classes)


def test_both_views_are_in_the_report(few_digits: Path, tmp_path: Path) -> None:
    run = Run.load(save_run(tmp_path / "run"))
    evaluation = evaluate(run, few_digits, EvaluateConfig(judges=tmp_path / "judges", judge_steps=2))
    settings = ("real", "held", "shuffled", "reconstruction", "swap", "dynamic_drawn")
    keys = {f"{setting}/digits/{name}" for setting in settings for name in ("accuracy", "top_two_accuracy")}
    assert keys == {key for key in evaluation.metrics if key.endswith("accuracy") and not key.startswith("probe/")}
    assert "digits accuracy of the two highest</th>" in evaluation.page
    assert "A\npair of equal parts can never be right there" in evaluation.page
