"""Training as a person starts it: a small run end to end, and every mistake told in one sentence."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any, cast

import imagecodecs
import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_training import TINY
from toy_clips import ToyClips

from seqviews.model.methods.cdsvae import CDSVAE
from seqviews.model.report.images import views_grid
from seqviews.model.train.runs import load_model
from seqviews.pipeline.prepare.write import prepare
from seqviews.tools.show_views import seen_at
from seqviews.tools.train import PRESETS, main


def write_config(folder: Path, **changes: Any) -> str:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, **changes}))
    return str(path)


def run(*argv: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(argv))
    return int(stopped.value.code or 0)


@pytest.fixture(scope="module")
def trained(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    code = run("--config", write_config(folder), "--data", str(toy), "--out", str(folder / "run"))
    assert code == 0
    return folder / "run"


def test_a_run_logs_each_term_and_learns(trained: Path) -> None:
    rows = list(csv.DictReader((trained / "log" / "metrics.csv").open()))
    losses = [row for row in rows if row["loss"]]
    terms = ["reconstruction", "kl_static", "kl_dynamic", "mi_static", "mi_dynamic", "mi_between", "gradient_norm"]
    first = losses[0]
    total = float(first["reconstruction"]) + float(first["kl_static"]) + float(first["kl_dynamic"])
    total += -2.0 * (float(first["mi_static"]) + float(first["mi_dynamic"])) + float(first["mi_between"])
    assert all(first[term] for term in terms)
    assert float(first["loss"]) == pytest.approx(total, rel=1e-5)
    assert list((trained / "tensorboard").glob("events.*"))


def test_the_checkpoint_gives_the_model_back(trained: Path) -> None:
    model = cast(CDSVAE, load_model(trained))
    again = cast(CDSVAE, load_model(trained))
    assert not model.training
    x = torch.rand(2, 4, 3, 16, 16)
    torch.testing.assert_close(model.encode(x).static.mean, again.encode(x).static.mean)
    saved = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 30
    assert yaml.safe_load((trained / "config.yaml").read_text())["model"]["init_args"]["width"] == 0.1


def test_the_same_seed_gives_the_same_losses(trained: Path, toy: Path, tmp_path: Path) -> None:
    def losses(folder: Path) -> list[str]:
        return [row["loss"] for row in csv.DictReader((folder / "log" / "metrics.csv").open())]

    for name, seed in (("same", "0"), ("other", "1")):
        config = write_config(tmp_path)
        assert run("--config", config, "--data", str(toy), "--out", str(tmp_path / name), "--seed", seed) == 0
    assert losses(tmp_path / "same") == losses(trained)
    assert losses(tmp_path / "other") != losses(trained)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_weights(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqviews.model.train.module.LOG_EVERY", 2)
    monkeypatch.setattr("seqviews.model.train.module.CHECKPOINT_EVERY", 2)
    config = write_config(tmp_path, model={**TINY["model"], "class_path": "breaking_model.BreakingModel"})
    assert run("--config", config, "--data", str(toy), "--out", str(tmp_path / "run")) == 1
    assert "the loss is not finite at step 8" in one_sentence(capsys)
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 6
    for weights in load_model(tmp_path / "run").parameters():
        assert weights.isfinite().all()


def one_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert "error: " in lines[-1]
    assert "Traceback" not in "".join(lines)
    return lines[-1]


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"learning_rat": 1}, 2, "learning_rat"),
        ({"model": {**TINY["model"], "init_args": {"frame_shape": [3, 16, 16], "wide": 1}}}, 2, "wide"),
        ({"min_frames": 5}, 1, "have 4 frames, the preset wants at least 5"),
        ({"model": {**TINY["model"], "init_args": {"frame_shape": [3, 32, 32]}}}, 1, "32, 32"),
    ],
)
def test_mistakes_in_a_preset(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], code: int, message: str
) -> None:
    config = write_config(tmp_path, **changes)
    assert run("--config", config, "--data", str(toy), "--out", str(tmp_path / "run")) == code
    assert message in one_sentence(capsys)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_mistakes_in_arguments(toy: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, out = write_config(tmp_path), str(tmp_path / "run")
    assert run("--config", "sprite", "--data", str(toy), "--out", out) == 2
    assert "no preset sprite and no such file; the presets are demo, " in one_sentence(capsys)
    assert run("--config", config, "--data", str(tmp_path), "--out", out) == 1
    assert "no manifest.json" in one_sentence(capsys)
    assert run("--config", config, "--data", str(toy), "--out", str(trained)) == 1
    assert "already holds something" in one_sentence(capsys)
    assert run("--config", config, "--data", str(toy), "--out", out, "--max-time", "soon") == 1
    assert "soon is not a time such as 90s" in one_sentence(capsys)
    assert not Path(out).exists()


def test_patience_ends_a_training_that_learns_no_more(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqviews.tools.train.VALIDATE_EVERY", 5)
    monkeypatch.setattr("seqviews.model.train.module.LOG_EVERY", 5)
    config = write_config(tmp_path, learning_rate=0.0)
    assert run("--config", config, "--data", str(toy), "--out", str(tmp_path / "run"), "--patience", "2") == 0
    assert "stopped: no lower val_loss in 2 validations" in capsys.readouterr().err
    rows = list(csv.DictReader((tmp_path / "run" / "log" / "metrics.csv").open()))
    assert [row["step"] for row in rows if row["val_loss"]] == ["5", "10", "15"]


def test_patience_without_validation_data_is_refused_before_anything_is_written(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(toy / "train", tmp_path / "data" / "train")
    arguments = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--patience", "2"]
    assert run("--config", write_config(tmp_path), *arguments) == 1
    assert "has no val split, which --patience needs" in one_sentence(capsys)
    assert not (tmp_path / "run").exists()


def test_pictures_are_logged_and_leave_the_training_as_it_is(
    trained: Path, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqviews.tools.train.VALIDATE_EVERY", 10)
    monkeypatch.setattr("seqviews.model.train.module.LOG_EVERY", 25)
    options = ["--config", write_config(tmp_path), "--data", str(toy), "--out", str(tmp_path / "run")]
    assert run(*options) == 0
    log = EventAccumulator(str(tmp_path / "run" / "tensorboard"), {"images": 0}).Reload()
    pictures = {(tag, event.step): event for tag in ("swaps", "views") for event in log.Images(tag)}
    assert set(pictures) == {(tag, step) for tag in ("swaps", "views") for step in (10, 20, 30)}
    seen = seen_at(20, options)
    views = seen.views
    captions = (seen.batch.keys[:4], ["motion view"] * 4, ["content view"] * 4)
    kinds = list(zip((views.anchor, views.motion, views.content), captions, strict=True))
    logged = imagecodecs.png_decode(pictures["views", 20].encoded_image_string)
    np.testing.assert_array_equal(logged, views_grid(kinds))
    assert pictures["swaps", 10].encoded_image_string != pictures["swaps", 30].encoded_image_string
    for one, other in zip(logged_losses(tmp_path / "run"), logged_losses(trained), strict=True):
        assert one == other


def logged_losses(run: Path) -> list[tuple[str, str]]:
    rows = csv.DictReader((run / "log" / "metrics.csv").open())
    return [(row["step"], row["loss"]) for row in rows if row["loss"]]


def test_max_time_ends_a_training(toy: Path, tmp_path: Path) -> None:
    arguments = ["--data", str(toy), "--out", str(tmp_path / "run"), "--max-clips", "100000000", "--max-time", "2s"]
    assert run("--config", write_config(tmp_path), *arguments) == 0
    load_model(tmp_path / "run")


def test_a_damaged_shard_stops_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(ToyClips(), tmp_path / "toy", shard_sources=2)
    shard = tmp_path / "toy" / "train" / "train-000002.tar"
    data = bytearray(shard.read_bytes())
    data[5000] ^= 1
    shard.write_bytes(data)
    config = write_config(tmp_path)
    assert run("--config", config, "--data", str(tmp_path / "toy"), "--out", str(tmp_path / "run")) == 1
    assert "train-000002.tar: its SHA-256" in one_sentence(capsys)


@pytest.mark.parametrize("preset", sorted(PRESETS.glob("*.yaml")), ids=lambda p: p.stem)
def test_presets_parse(preset: Path) -> None:
    from seqviews.tools.train import make_parser

    parser = make_parser()
    parts = parser.instantiate(parser.parse_args(["--config", preset.stem, "--data", "x", "--out", "y"]))
    frames = torch.rand(2, 4, *parts.model.frame_shape)
    assert parts.model.eval().encode(frames).dynamic.mean.shape[:2] == (2, 4)
