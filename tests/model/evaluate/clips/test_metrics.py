import itertools
import math

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from seqviews.model.evaluate.clips.metrics import (
    MAX_PSNR,
    accuracy,
    factor_scores,
    foreground_psnr,
    inception_scores,
    trajectory_distance,
    trajectory_error,
)


def entropy(p: list[float]) -> float:
    return -sum(q * math.log(q) for q in p if q > 0)


@pytest.fixture
def probabilities() -> torch.Tensor:
    return torch.rand(50, 7, generator=torch.Generator().manual_seed(0)).pow(6).softmax(1)


def test_inception_scores_equal_a_naive_loop_and_the_mean_divergence(probabilities: torch.Tensor) -> None:
    scores, p = inception_scores(probabilities), probabilities.double()
    rows = p.tolist()
    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    assert scores["intra_entropy"] == pytest.approx(sum(map(entropy, rows)) / len(rows))
    assert scores["inter_entropy"] == pytest.approx(entropy(mean))
    divergence = kl_divergence(Categorical(p), Categorical(p.mean(0))).mean()
    assert scores["inception_score"] == pytest.approx(math.exp(divergence))
    assert scores["inception_score"] == pytest.approx(math.exp(scores["inter_entropy"] - scores["intra_entropy"]))
    certain = inception_scores(torch.eye(9).repeat(3, 1))
    assert certain == pytest.approx({"inception_score": 9, "intra_entropy": 0, "inter_entropy": math.log(9)})


def test_accuracy_counts_the_most_probable_class(probabilities: torch.Tensor) -> None:
    labels = torch.randint(7, (50,), generator=torch.Generator().manual_seed(1))
    right = sum(int(row.argmax()) == int(label) for row, label in zip(probabilities, labels, strict=True))
    assert accuracy(probabilities, labels) == right / 50


@pytest.mark.parametrize("points", [1, 2, 3])
def test_trajectory_distance_equals_a_naive_loop(points: int) -> None:
    generator = torch.Generator().manual_seed(points)
    predicted, true = (torch.rand(5, 4, points, 2, generator=generator) * 32 for _ in range(2))
    orders = list(itertools.permutations(range(points)))

    def distance(a: torch.Tensor, b: torch.Tensor) -> float:
        return min(sum(math.dist(a[o[i]], b[i]) for i in range(points)) / points for o in orders)

    expected = [sum(map(distance, a, b)) / 4 for a, b in zip(predicted, true, strict=True)]
    torch.testing.assert_close(trajectory_distance(predicted, true), torch.tensor(expected))
    assert trajectory_error(predicted, true) == pytest.approx(sum(expected) / 5, rel=1e-5)


def test_factors_without_truth_have_entropies_only(probabilities: torch.Tensor) -> None:
    judged = {"motion": probabilities, "hair": probabilities, "path": torch.zeros(50, 3, 1, 2)}
    scores = factor_scores(judged, {"motion": torch.zeros(50, dtype=torch.int64)})
    entropies = {"inception_score", "intra_entropy", "inter_entropy"}
    assert set(scores) == {f"{name}/{key}" for name in ("motion", "hair") for key in entropies} | {"motion/accuracy"}


def test_foreground_psnr_equals_a_naive_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    real, decoded = torch.rand(2, 3, 4, 3, 5, 5, generator=generator)
    lit = torch.rand(3, 4, 5, 5, generator=generator) < 0.4
    real *= lit[:, :, None]
    real[:, :, 1] = 0  # a pixel with one black channel is not black
    found = foreground_psnr(decoded, real).tolist()
    for clip in range(3):
        difference = decoded[clip] - real[clip]
        places = [(t, channel, y, x) for t, y, x in lit[clip].nonzero().tolist() for channel in range(3)]
        errors = [difference[place].item() ** 2 for place in places]
        assert found[clip] == pytest.approx(-10 * math.log10(sum(errors) / len(errors)), abs=1e-4)
    decoded = real.where(lit[:, :, None], 1.0)  # wrong in the background only
    assert foreground_psnr(decoded, real).tolist() == [MAX_PSNR] * 3
    assert foreground_psnr(decoded, 0 * real).isnan().all()
