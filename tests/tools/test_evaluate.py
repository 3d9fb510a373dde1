from __future__ import annotations

import base64
import json
import math
import shutil
from pathlib import Path

import pytest
from moving_squares import MovingSquares
from PIL import Image
from untrained import save_log, save_run

from seqviews.pipeline.prepare.write import prepare
from seqviews.tools.evaluate import main

PICTURES = {"reconstructions", "swap_grid", "exchanges", "samples", "generations", "interpolations"}
CURVES = {"information", "terms"}


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
    save_log(run)
    assert evaluate(run, data, judges, "--json") == 0
    out = run / "evaluation"
    metrics = json.loads((out / "metrics.json").read_text())
    told = capsys.readouterr()
    assert json.loads(told.out.splitlines()[-1]) == metrics
    weak = [name for name in ("shade", "way") if metrics[f"real/{name}/accuracy"] < 0.95]
    assert weak, "after four steps"
    assert [line.split()[3] for line in told.err.splitlines() if "--judge-steps" in line] == weak
    assert all(math.isfinite(value) for value in metrics.values())
    for name in ("real/shade/accuracy", "static_drawn/way/inception_score", "swap/path/error"):
        assert name in metrics
    assert "static_drawn/shade/inter_entropy" in metrics
    assert "reconstruction/foreground_psnr" in metrics
    pictures = {f"{name}.png" for name in PICTURES | CURVES}
    assert {path.name for path in out.iterdir()} == {"metrics.json", "report.html", *pictures}
    assert Image.open(out / "swap_grid.png").size[0] > 1000
    report = (out / "report.html").read_text()
    for name in pictures:
        assert base64.b64encode((out / name).read_bytes()).decode() in report
    assert "24 of 24 clips" in report
    assert "static_dim: 8" in report


def test_same_seed_same_bytes(data: Path, tmp_path: Path) -> None:
    run, judges = save_run(tmp_path / "run"), tmp_path / "judges"
    files = ("metrics.json", "report.html", *(f"{name}.png" for name in PICTURES))
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


def test_a_run_without_a_log_has_no_curves(data: Path, tmp_path: Path) -> None:
    run = save_run(tmp_path / "run")
    assert evaluate(run, data, tmp_path / "judges", "--max-clips", "2") == 0
    assert not any((run / "evaluation" / f"{name}.png").exists() for name in CURVES)
    assert "Learning curves" not in (run / "evaluation" / "report.html").read_text()


def test_splits_that_do_not_agree_are_told(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "data"
    shutil.copytree(data, other)
    manifest = json.loads((other / "train" / "manifest.json").read_text())
    del manifest["dataset"]["dynamic"]["way"]
    (other / "train" / "manifest.json").write_text(json.dumps(manifest))
    assert evaluate(save_run(tmp_path / "run"), other, tmp_path / "judges") == 1
    assert "train has no factor way: it has shade, path" in error(capsys)


def test_a_run_that_does_not_fit_is_told(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judges = tmp_path / "judges"
    assert evaluate(save_run(tmp_path / "wider", static_dim=9), data, judges) == 1
    assert "does not fit the model that" in error(capsys)
    assert evaluate(save_run(tmp_path / "newer", no_such_argument=1), data, judges) == 1
    assert "cannot build the model" in error(capsys)
    run = save_run(tmp_path / "log")
    save_log(run)
    (run / "log/metrics.csv").write_text("hello\n1\n")
    assert evaluate(run, data, judges) == 1
    assert "is not the log of a training" in error(capsys)
