"""`evaluate` of runs, called as a notebook calls it."""

import base64
import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from square_models import PerfectModel, SquareGenerator
from toy_speech import N_MELS, SCALE, PerfectSpeech
from untrained import run_of, save_log, save_run

from seqviews.model.evaluate.evaluation import EvaluateConfig, Evaluation, evaluate
from seqviews.model.protocol import Method
from seqviews.model.train.runs import Run
from seqviews.pipeline.shards.reader import ShardReader

GRIDS = {"reconstructions", "swap_grid", "exchanges", "samples", "generations", "interpolations"}
CURVES = {"information", "terms"}


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("judges")


def files_of(evaluation: Evaluation, folder: Path) -> dict[str, bytes]:
    evaluation.write(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def check_page(evaluation: Evaluation, files: dict[str, bytes]) -> None:
    """The page holds everything, and `metrics.json` the metrics."""
    page = files["report.html"].decode()
    assert page == evaluation.page
    assert json.loads(files["metrics.json"]) == evaluation.metrics
    assert all(math.isfinite(value) for value in evaluation.metrics.values())
    assert set(files) - {"report.html", "metrics.json"} == {name for panel in evaluation.panels for name in panel.files}
    for panel in evaluation.panels:
        assert base64.b64encode(panel.moving or panel.png).decode() in page
    assert not [source for source in re.findall(r'(?:src|href)="(.{0,9})', page) if not source.startswith("data:")]


def test_a_run_on_clips_in_five_lines(few_squares: Path, judges: Path, tmp_path: Path) -> None:
    save_log(save_run(tmp_path / "run"))

    run = Run.load(tmp_path / "run")
    evaluation = evaluate(run, few_squares, EvaluateConfig(judges=judges, judge_steps=4))
    evaluation.write(tmp_path / "evaluation")

    files = files_of(evaluation, tmp_path / "evaluation")
    check_page(evaluation, files)
    assert {panel.name for panel in evaluation.panels} == GRIDS | CURVES
    assert {"real/shade/accuracy", "static_drawn/way/inception_score", "swap/path/error"} < set(evaluation.metrics)
    assert {"static_drawn/shade/inter_entropy", "reconstruction/foreground_psnr"} < set(evaluation.metrics)
    assert Image.open(tmp_path / "evaluation" / "swap_grid.png").size[0] > 1000
    assert "24 of 24 clips" in evaluation.page
    assert "static_dim: 8" in evaluation.page
    assert evaluation.missing == {}
    weak = [name for name in ("shade", "way") if evaluation.metrics[f"real/{name}/accuracy"] < 0.95]
    assert weak, "after four steps"
    assert [re.findall("right about (.*) in only", text) for text in evaluation.warnings] == [[name] for name in weak]
    assert all(text in evaluation.page for text in evaluation.warnings)


def test_the_seed_determines_every_byte(few_squares: Path, judges: Path, tmp_path: Path) -> None:
    run = Run.load(save_run(tmp_path / "run"))
    written = []
    for number, (folder, seed) in enumerate([(judges, 0), (tmp_path, 0), (judges, 1)]):
        config = EvaluateConfig(judges=folder, judge_steps=4, seed=seed, max_clips=20)
        written.append(files_of(evaluate(run, few_squares, config), tmp_path / str(number)))
    assert written[0] == written[1]
    assert written[0]["metrics.json"] != written[2]["metrics.json"]
    assert not any(f"{name}.png" in written[0] for name in CURVES)
    assert b"Learning curves" not in written[0]["report.html"]


def test_methods_without_an_encoder_or_a_prior(few_squares: Path, judges: Path, tmp_path: Path) -> None:
    config = EvaluateConfig(judges=judges, judge_steps=4)
    evaluation = evaluate(run_of(tmp_path / "run", SquareGenerator()), few_squares, config)
    check_page(evaluation, files_of(evaluation, tmp_path / "evaluation"))
    assert {name.partition("/")[0] for name in evaluation.metrics} == {"real", "held", "shuffled", "sampled"}
    assert [panel.name for panel in evaluation.panels] == ["sampled"]
    assert evaluation.missing["encode"] == "SquareGenerator has no encode, which reconstructions and swaps need"
    assert evaluation.missing["encode"] in evaluation.page

    class WithoutPrior(PerfectModel):
        sample_static = None  # type: ignore[assignment]

    evaluation = evaluate(run_of(tmp_path / "prior", WithoutPrior()), few_squares, config)
    assert evaluation.missing == {"sample_static": "WithoutPrior has no sample_static, which draws of s need"}
    assert {panel.name for panel in evaluation.panels} == GRIDS - {"samples", "generations"}
    expected = {"real", "held", "shuffled", "reconstruction", "swap", "dynamic_drawn", "probe", "use"}
    assert {name.partition("/")[0] for name in evaluation.metrics} == expected


def test_speech_with_a_baseline_is_read_once(speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: Counter[str] = Counter()
    read = ShardReader.read

    def counting_read(self: ShardReader, entry: Any) -> Any:
        reads[entry.name] += 1
        return read(self, entry)

    monkeypatch.setattr(ShardReader, "read", counting_read)
    runs = [Run.load(save_run(tmp_path / str(seed), (N_MELS,), SCALE, seed)) for seed in range(2)]
    evaluation = evaluate(runs[0], speech, EvaluateConfig(baseline=runs[1]))
    test_reads = {name: count for name, count in reads.items() if name.startswith("test")}
    assert len(test_reads) == 15
    assert sum(test_reads.values()) <= 15 + 5  # afterwards, one utterance of each of five speakers
    assert set(test_reads.values()) == {1, 2}
    monkeypatch.undo()

    files = files_of(evaluation, tmp_path / "evaluation")
    check_page(evaluation, files)
    assert files_of(evaluate(runs[0], speech, EvaluateConfig(baseline=runs[1])), tmp_path / "again") == files
    metrics, page = evaluation.metrics, evaluation.page
    alone, other = (evaluate(run, speech).metrics for run in runs)
    assert {name: value for name, value in metrics.items() if not name.startswith("baseline")} == alone
    for place in ("all/segment", "all/utterance", "many/segment", "many/utterance"):
        assert metrics[f"{place}/content_eer_low"] <= metrics[f"{place}/content_eer_high"]
        difference = alone[f"{place}/gap"] - other[f"{place}/gap"]
        assert metrics[f"baseline_difference/{place}/gap"] == pytest.approx(difference)
    assert 0 < metrics["probe/z"] <= 1
    assert [panel.name for panel in evaluation.panels] == ["cross_generation", "error_rates"]
    assert page.count("<audio") == 3 * (1 + 2 + 1 + 1)
    assert f"{metrics['all/utterance/motion_eer']:.2%}" in page
    assert "116 segments of 5 speakers" in page


def test_a_perfect_encoder_of_speech_without_a_decoder(speech: Path, tmp_path: Path) -> None:
    class PerfectEncoder(PerfectSpeech):
        decode = None  # type: ignore[assignment]

    evaluation = evaluate(run_of(tmp_path / "run", PerfectEncoder(), SCALE), speech)
    assert evaluation.metrics["all/segment/content_eer"] == 0
    missing = "PerfectEncoder has no decode, which swaps, cross generation and sounds need"
    assert evaluation.missing == {"decode": missing}
    assert missing in evaluation.page
    assert "<audio" not in evaluation.page
    assert [panel.name for panel in evaluation.panels] == ["error_rates"]


class Nothing(Method):
    """A method without capabilities."""


@pytest.mark.parametrize(
    ("method", "on_speech", "options", "message"),
    [
        (Nothing(), False, {}, "Nothing has no encode, which reconstructions and swaps need"),
        (Nothing(), True, {}, "Nothing has no encode, which error rates of speakers need"),
        (PerfectSpeech(), True, {"max_clips": 3}, "max_clips is for clips only"),
        (PerfectModel(), False, {"max_clips": 1}, "there are 1 clips to evaluate"),
        (PerfectModel(), False, {"baseline": True}, "a baseline can be given for speech only"),
    ],
)
def test_what_cannot_be_evaluated_is_an_error(
    few_squares: Path, speech: Path, tmp_path: Path, method: Method, on_speech: bool, options: Any, message: str
) -> None:
    run = run_of(tmp_path / "run", method, SCALE if on_speech else None)
    options = {name: run if value is True else value for name, value in options.items()}
    with pytest.raises(ValueError, match=message):
        evaluate(run, speech if on_speech else few_squares, EvaluateConfig(judges=tmp_path, judge_steps=4, **options))
