from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from toy_speech import FRAMES, N_MELS, ToySpeech

from seqviews.model.scaling import MelScale
from seqviews.model.train.runs import load_scale
from seqviews.pipeline.prepare.write import prepare
from seqviews.tools import encode, evaluate, show_views, train

MODEL = {"frame_shape": f"[{N_MELS}]", "width": 0.05, "static_dim": 8, "dynamic_dim": 4, "hidden_dim": 12}


def run(tool: object, *options: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        tool.main([str(option) for option in options])  # type: ignore[attr-defined]
    return int(stopped.value.code or 0)


def train_toy(data: Path, out: Path, *options: object) -> int:
    sizes = [f"--model.init_args.{name}={value}" for name, value in MODEL.items()]
    given = ["--config", "timit-compact", "--min-frames", FRAMES, "--motion.init_args.voices", 2, *sizes]
    given += ["--batch-size", 8, "--max-clips", 80]
    return run(train, *given, "--data", data, "--out", out, *options)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("speech") / "data"
    prepare(ToySpeech(), out)
    return out


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("speech") / "run"
    assert train_toy(data, out) == 0
    return out


def test_a_run_keeps_the_scale_of_its_mels(trained: Path) -> None:
    scale = load_scale(trained)
    assert isinstance(scale, MelScale)
    assert scale.mean.tolist() == [-6.0] * N_MELS
    assert scale.deviation.tolist() == [2.0] * N_MELS


def test_figures_and_a_report_that_can_be_heard(
    trained: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    assert train_toy(data, other, "--ablation", "dsvae") == 0
    written = []
    for name in ("a", "b"):
        options = ["--run", trained, "--data", data, "--beside", other, "--out", tmp_path / name, "--json"]
        assert run(evaluate, *options) == 0
        files = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        written.append(files)
    assert written[0] == written[1]
    pictures = {"cross_generation.png", "error_rates.png"}
    assert pictures <= set(written[0])
    metrics = json.loads(written[0]["metrics.json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == metrics
    assert all(math.isfinite(value) for value in metrics.values())
    for place in ("all/segment", "all/utterance", "many/segment", "many/utterance"):
        assert metrics[f"{place}/content_eer_low"] <= metrics[f"{place}/content_eer_high"]
        assert f"less/{place}/gap" in metrics
    assert 0 < metrics["probe/z"] <= 1
    report = written[0]["report.html"].decode()
    assert report.count("<audio") == 3 * (1 + 2 + 1 + 1)
    assert not [s for s in re.findall(r'(?:src|href)="(.{0,9})', report) if not s.startswith("data:")]
    assert f"{metrics['all/utterance/motion_eer']:.2%}" in report
    assert "116 segments of 5 speakers" in report


def test_segments_are_encoded(trained: Path, data: Path, tmp_path: Path) -> None:
    assert run(encode, "--run", trained, "--data", data, "--out", tmp_path / "latents.npz") == 0
    assert (tmp_path / "latents.npz").stat().st_size > 1000


def test_bad_input_is_told_in_a_sentence(
    trained: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], toy: Path
) -> None:
    def said(tool: object, *options: object) -> str:
        assert run(tool, *options) == 1
        return capsys.readouterr().err.splitlines()[-1]

    assert "toy holds clips, and the run was trained on segments" in said(evaluate, "--run", trained, "--data", toy)
    told = said(evaluate, "--run", trained, "--data", data, "--max-clips", 3)
    assert "--max-clips is for clips only" in told
    options = ["--run", trained, "--step", 1, "--out", tmp_path / "views.png"]
    assert "holds speech, and only clips can be drawn" in said(show_views, *options)
    prepare(ToySpeech(voices=0), tmp_path / "mute")
    assert train_toy(tmp_path / "mute", tmp_path / "run") == 1
    assert "must have been prepared with --voices 2" in capsys.readouterr().err.splitlines()[-1]
    assert train_toy(toy, tmp_path / "clips", "--min-frames", 2) == 1
    assert "Traceback" not in capsys.readouterr().err
