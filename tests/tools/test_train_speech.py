"""A training on speech, and what other tools make of its run."""

import json
from pathlib import Path

from tool_calls import Capsys, Failure, call
from toy_speech import FRAMES, N_MELS, ToySpeech

from seqviews.model.scaling import MelScale
from seqviews.model.train.runs import Run
from seqviews.pipeline.prepare.write import prepare
from seqviews.tools import evaluate, show_views, train

SIZES = {"width": 0.05, "static_dim": 8, "dynamic_dim": 4, "hidden_dim": 12}


def train_toy(data: Path, out: Path, *options: object) -> int:
    sizes = [f"--model.{name}={value}" for name, value in SIZES.items()]
    short = ["--min-frames", FRAMES, "--motion.voices", 2, "--batch-size", 8, "--max-clips", 80]
    return call(train.main, "--config", "timit-compact", *short, *sizes, "--data", data, "--out", out, *options)


def test_a_run_keeps_the_scale_of_its_mels_and_is_evaluated(
    speech: Path, tmp_path: Path, capsys: Capsys, failure: Failure
) -> None:
    assert train_toy(speech, tmp_path / "run") == 0
    scale = Run.load(tmp_path / "run").scale
    assert isinstance(scale, MelScale)
    assert scale.mean.tolist() == [-6.0] * N_MELS
    assert scale.deviation.tolist() == [2.0] * N_MELS
    runs = ["--run", tmp_path / "run", "--baseline", tmp_path / "run"]
    assert call(evaluate.main, *runs, "--data", speech) == 0
    lines = capsys.readouterr().out.splitlines()
    metrics = json.loads((tmp_path / "run" / "evaluation" / "metrics.json").read_text())
    assert metrics["baseline_difference/all/segment/gap_high"] == 0
    assert f"all/segment/gap: {metrics['all/segment/gap']}" in lines
    assert len(lines) < 70 < len(metrics), "intervals, attacks and differences are not printed as lines"
    assert (tmp_path / "run" / "evaluation" / "cross_generation.png").is_file()
    shown = failure(show_views.main, "--run", tmp_path / "run", "--step", 1, "--out", tmp_path / "views.png")
    assert "holds speech, and only clips can be drawn" in shown


def test_data_that_does_not_fit_the_views_is_an_error(toy: Path, tmp_path: Path, capsys: Capsys) -> None:
    prepare(ToySpeech(voices=0), tmp_path / "mute")
    assert train_toy(tmp_path / "mute", tmp_path / "run") == 1
    assert "must have been prepared with --voices 2" in capsys.readouterr().err.splitlines()[-1]
    assert train_toy(toy, tmp_path / "clips", "--min-frames", 2) == 1
    assert "Traceback" not in capsys.readouterr().err
