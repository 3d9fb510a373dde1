"""The command `evaluate`; what it computes is tested in tests/model/evaluate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from moving_squares import MovingSquares
from square_models import SquareGenerator
from toy_speech import N_MELS, ToySpeech
from untrained import run_of, save_log, save_run

from seqviews.model.scaling import scale_of
from seqviews.pipeline.prepare.write import prepare
from seqviews.tools.evaluate import main

SCALE = scale_of(ToySpeech().info.features)


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


def test_writes_metrics_images_and_a_report(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = save_run(tmp_path / "run")
    assert evaluate(run, data, tmp_path / "judges", "--json") == 0
    printed = capsys.readouterr()
    metrics = json.loads((run / "evaluation" / "metrics.json").read_text())
    assert json.loads(printed.out.splitlines()[-1]) == metrics
    weak = [name for name in ("shade", "way") if metrics[f"real/{name}/accuracy"] < 0.95]
    assert weak, "after four steps"
    assert [line.split()[5] for line in printed.err.splitlines() if "judge_steps" in line] == weak
    assert (run / "evaluation" / "report.html").is_file()
    assert (run / "evaluation" / "swap_grid.png").is_file()


def test_compares_runs_on_speech(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(ToySpeech(), tmp_path / "speech")
    run, baseline = (save_run(tmp_path / str(seed), (N_MELS,), SCALE, seed) for seed in range(2))
    options = ["--baseline", str(baseline), "--out", str(tmp_path / "out")]
    assert evaluate(run, tmp_path / "speech", tmp_path, *options) == 0
    assert "baseline_difference/all/segment/gap_low: " in capsys.readouterr().out
    assert (tmp_path / "out" / "report.html").is_file()
    assert evaluate(run, tmp_path / "speech", tmp_path, "--max-clips", "3") == 1
    assert "max_clips is for clips only" in capsys.readouterr().err.splitlines()[-1]


def test_bad_input_is_an_error_in_one_sentence(
    data: Path, toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judges = tmp_path / "judges"

    def error(run: Path, data: Path = data) -> str:
        assert evaluate(run, data, judges) == 1
        return capsys.readouterr().err.splitlines()[-1]

    run = save_run(tmp_path / "run")
    assert "it is not the --out of a training" in error(tmp_path / "nowhere")
    assert "not a prepared split" in error(run, tmp_path / "nothing")
    fit = "does not fit the clips of squares: frames are [1, 16, 16], the model was built for [3, 16, 16]"
    assert fit in error(save_run(tmp_path / "colour", (3, 16, 16)))
    assert "toy holds clips, and the run was trained on segments" in error(
        save_run(tmp_path / "speech", (N_MELS,), SCALE), toy
    )
    assert "does not fit the model that" in error(save_run(tmp_path / "wider", static_dim=9))
    assert "cannot build the model" in error(save_run(tmp_path / "newer", no_such_argument=1))
    assert "no installed package registers a model 'gone'" in error(save_run(tmp_path / "gone", name="gone"))
    for split in ("train", "val", "test"):
        (tmp_path / "empty" / split).mkdir(parents=True)
        manifest = json.loads((data / split / "manifest.json").read_text())
        (tmp_path / "empty" / split / "manifest.json").write_text(json.dumps({**manifest, "shards": []}))
    assert "shards: [] should be non-empty" in error(run, tmp_path / "empty")
    shutil.copytree(data, tmp_path / "other")
    manifest = json.loads((data / "train" / "manifest.json").read_text())
    del manifest["dataset"]["dynamic"]["way"]
    (tmp_path / "other" / "train" / "manifest.json").write_text(json.dumps(manifest))
    assert "train has no factor way: it has shade, path" in error(run, tmp_path / "other")
    save_log(run)
    (run / "log/metrics.csv").write_text("hello\n1\n")
    assert "is not the log of a training" in error(run)
    assert evaluate(run, data, judges, "--split", "everything") == 2
    assert not judges.exists()
    assert not (run / "evaluation").exists()


def test_code_that_no_package_registers_requires_trust(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_of(tmp_path / "run", SquareGenerator(), name="square_models.SquareGenerator")
    assert evaluate(tmp_path / "run", data, tmp_path / "judges") == 1
    assert "--trust-code runs the code of other modules" in capsys.readouterr().err
    assert evaluate(tmp_path / "run", data, tmp_path / "judges", "--trust-code") == 0
    assert "SquareGenerator has no encode, which reconstructions and swaps need" in capsys.readouterr().err.splitlines()
