from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
import yaml
from moving_squares import MovingSquares
from PIL import Image

from seqviews.model.cdsvae import CDSVAE
from seqviews.model.training import CHECKPOINT, CONFIG
from seqviews.pipeline.prepare import prepare
from seqviews.tools.evaluate import main


def save_run(folder: Path, channels: int = 1) -> Path:
    """A run's folder with a model that was never trained."""
    arguments = {"frame_shape": [channels, 16, 16], "width": 0.125, "static_dim": 8, "dynamic_dim": 4, "hidden_dim": 16}
    torch.manual_seed(0)
    model = CDSVAE(**{**arguments, "frame_shape": (channels, 16, 16)})  # type: ignore[arg-type]
    (folder / CHECKPOINT).parent.mkdir(parents=True)
    config = {"model": {"class_path": "seqviews.model.cdsvae.CDSVAE", "init_args": arguments}}
    (folder / CONFIG).write_text(yaml.safe_dump(config))
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": weights}, folder / CHECKPOINT)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "squares"
    prepare(MovingSquares((64, 16, 24)), out, shard_sources=8)
    return out


def evaluate(run: Path, data: Path, judges: Path, *options: str) -> int:
    arguments = ["--run", str(run), "--data", str(data), "--judges", str(judges), "--judge-steps", "4", *options]
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    return int(exit_.value.code or 0)


def error(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a failure leaves on stderr behind the progress."""
    return capsys.readouterr().err.splitlines()[-1]


def test_writes_figures_pictures_and_a_report(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, judges = save_run(tmp_path / "run"), tmp_path / "judges"
    assert evaluate(run, data, judges, "--json") == 0
    out = run / "evaluation"
    metrics = json.loads((out / "metrics.json").read_text())
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == metrics
    assert all(math.isfinite(value) for value in metrics.values())
    for name in ("real/shade/accuracy", "static_drawn/way/inception_score", "swap/path/error"):
        assert name in metrics
    assert {path.name for path in out.iterdir()} == {"metrics.json", "swap_grid.png", "samples.png", "report.html"}
    assert Image.open(out / "swap_grid.png").size[0] > 1000
    report = (out / "report.html").read_text()
    assert "24 of 24 clips" in report
    assert "static_dim: 8" in report


def test_same_seed_same_bytes(data: Path, tmp_path: Path) -> None:
    run, judges = save_run(tmp_path / "run"), tmp_path / "judges"
    files = ("metrics.json", "swap_grid.png", "samples.png", "report.html")
    written = []
    for out, where, seed in (
        ("a", judges, "0"),
        ("b", judges, "0"),
        ("c", tmp_path / "other", "0"),
        ("d", judges, "1"),
    ):
        assert evaluate(run, data, where, "--out", str(tmp_path / out), "--seed", seed, "--max-clips", "20") == 0
        written.append([(tmp_path / out / name).read_bytes() for name in files])
    assert written[0] == written[1] == written[2]
    assert written[0][0] != written[3][0]


def test_bad_input_is_told_in_a_sentence(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, judges = save_run(tmp_path / "run"), tmp_path / "judges"
    assert evaluate(tmp_path / "nowhere", data, judges) == 1
    assert "it is not the --out of a training" in error(capsys)
    assert evaluate(run, tmp_path / "nothing", judges) == 1
    assert "not a prepared split" in error(capsys)
    assert evaluate(save_run(tmp_path / "colour", channels=3), data, judges) == 1
    assert "does not take the clips of --data: frames are [1, 16, 16], the model was built for [3, 16, 16]" in error(
        capsys
    )
    empty = tmp_path / "empty"
    for split in ("train", "val", "test"):
        (empty / split).mkdir(parents=True)
        manifest = json.loads((data / split / "manifest.json").read_text())
        (empty / split / "manifest.json").write_text(json.dumps({**manifest, "shards": []}))
    assert evaluate(run, empty, judges) == 1
    assert "shards: [] should be non-empty" in error(capsys)
    assert evaluate(run, data, judges, "--split", "everything") == 2
    assert not judges.exists()
    assert not (run / "evaluation").exists()
