"""Training as a person starts it: a small run end to end, and every mistake reported in one sentence."""

import csv
import shutil
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_training import MODEL, write_config
from tool_calls import Capsys, Failure, call
from toy_clips import ToyClips

from seqviews.model.registry import MODELS, VIEWS, build
from seqviews.model.report.grids import views_grid
from seqviews.model.train import trainer
from seqviews.model.train.config import TrainConfig, presets
from seqviews.model.train.preview import views_at
from seqviews.model.train.runs import LOG, Run
from seqviews.pipeline.prepare.write import prepare
from seqviews.tools.train import config_of, main, make_parser


def run(*argv: object) -> int:
    return call(main, *argv)


def logged(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / LOG).open()))


@pytest.fixture(scope="module")
def trained(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert run("--config", write_config(folder), "--data", toy, "--out", folder / "run") == 0
    return folder / "run"


def test_a_run_logs_each_term_and_learns(trained: Path) -> None:
    losses = [row for row in logged(trained) if row["loss"]]
    terms = ["reconstruction", "kl_static", "kl_dynamic", "mi_static", "mi_dynamic", "mi_between", "gradient_norm"]
    first = losses[0]
    total = float(first["reconstruction"]) + float(first["kl_static"]) + float(first["kl_dynamic"])
    total += -2.0 * (float(first["mi_static"]) + float(first["mi_dynamic"])) + float(first["mi_between"])
    assert all(first[term] for term in terms)
    assert float(first["loss"]) == pytest.approx(total, rel=1e-5)
    assert list((trained / "tensorboard").glob("events.*"))
    run = Run.load(str(trained))
    assert (run.steps, run.config.model["width"], run.scale.modality) == (30, 0.1, "clip")
    assert run.config.model["frame_shape"] == [3, 16, 16]


def test_the_same_seed_gives_the_same_losses(trained: Path, toy: Path, tmp_path: Path) -> None:
    for name, seed in (("same", 0), ("other", 1)):
        assert run("--config", write_config(tmp_path), "--data", toy, "--out", tmp_path / name, "--seed", seed) == 0
    assert logged(tmp_path / "same") == logged(trained)
    assert [row["loss"] for row in logged(tmp_path / "other")] != [row["loss"] for row in logged(trained)]


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_weights(
    toy: Path, tmp_path: Path, failure: Failure, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOG_EVERY", "CHECKPOINT_EVERY"):
        monkeypatch.setattr(trainer, name, 2)
    config = write_config(tmp_path, model={**MODEL, "name": "breaking_model.BreakingModel"})
    arguments = ["--config", config, "--data", toy, "--out", tmp_path / "run"]
    assert "--trust-code runs the code of other modules" in failure(main, *arguments)
    assert "the loss is not finite at step 8" in failure(main, *arguments, "--trust-code", alone=False)
    saved = Run.load(tmp_path / "run", trust_code=True)
    assert saved.steps == 6
    assert all(weights.isfinite().all() for weights in saved.method.parameters())


def test_mistakes(toy: Path, trained: Path, tmp_path: Path, failure: Failure) -> None:
    out = tmp_path / "run"
    shutil.copytree(toy / "train", tmp_path / "data" / "train")
    rest = ["--data", toy, "--out", out]
    for changes, code, message in (
        ({"learning_rat": 1}, 2, "learning_rat"),
        ({"learning_rate": "fast"}, 2, "learning_rate"),
        ({"batch_size": 0}, 1, "batch_size, max_clips, devices and nodes must be at least 1"),
        ({"precision": "16-mixed"}, 2, "precision"),
        ({"model": {"name": "cdsvae", "wide": 1}}, 1, "wide"),
        ({"model": {"width": 1.0}}, 1, "the configuration's model has no name; registered: cdsvae"),
        ({"motion": {"name": "cdsvae"}}, 1, "registers a view 'cdsvae'; registered: stored_voices"),
        ({"min_frames": 5}, 1, "have 4 frames, the configuration wants at least 5"),
        ({"model": {"name": "cdsvae", "frame_shape": [3, 32, 32]}}, 1, "32, 32"),
    ):
        assert message in failure(main, "--config", write_config(tmp_path, **changes), *rest, code=code)
        assert not (out / "checkpoints").exists()
        shutil.rmtree(out, ignore_errors=True)
    rest += ["--config", write_config(tmp_path)]
    for options, code, message in (
        (["--config", "sprite"], 2, "no preset sprite and no such file; presets: cdsvae-timit-compact, demo, "),
        (["--data", tmp_path], 1, "no manifest.json"),
        (["--out", trained], 1, "already holds something"),
        (["--max-time", "soon"], 1, "soon is not a time such as 90s"),
        (["--devices", 2], 1, "use last pad or drop"),
        (["--devices", 5, "--last", "pad"], 1, "a batch of 12 cannot be divided evenly by 5 processes"),
        (["--data", tmp_path / "data", "--patience", 2], 1, "has no val split, so there is no validation loss for"),
    ):
        assert message in failure(main, *rest, *options, code=code)
    assert not out.exists()


def test_patience_ends_a_training_that_learns_no_more(
    toy: Path, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("VALIDATE_EVERY", "LOG_EVERY"):
        monkeypatch.setattr(trainer, name, 5)
    config = write_config(tmp_path, learning_rate=0.0)
    options = ["--config", config, "--data", toy, "--out", tmp_path / "run", "--patience", "2"]
    assert run(*options) == 0
    assert "stopped: no lower val_loss in 2 validations" in capsys.readouterr().err
    assert [row["step"] for row in logged(tmp_path / "run") if row["val_loss"]] == ["5", "10", "15"]
    assert run(*options, "--resume") == 0
    assert logged(tmp_path / "run")[-1]["step"] == "15"
    assert Run.load(tmp_path / "run").steps == 15


def test_images_are_logged_and_leave_the_training_unchanged(
    trained: Path, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "VALIDATE_EVERY", 10)
    options = ["--config", write_config(tmp_path), "--data", str(toy), "--out", str(tmp_path / "run")]
    assert run(*options) == 0
    log = EventAccumulator(str(tmp_path / "run" / "tensorboard"), {"images": 0}).Reload()
    images = {(tag, event.step): event for tag in ("swaps", "views") for event in log.Images(tag)}
    assert set(images) == {(tag, step) for tag in ("swaps", "views") for step in (10, 20, 30)}
    seen = views_at(config_of(make_parser().parse_args(options)), 20)
    views = seen.views
    assert views.motion is not None
    captions = (seen.batch.keys[:4], ["motion view"] * 4, ["content view"] * 4)
    kinds = list(zip((views.anchor, views.motion, views.content), captions, strict=True))
    drawn = imagecodecs.png_decode(images["views", 20].encoded_image_string)
    np.testing.assert_array_equal(drawn, views_grid(kinds).still())
    assert images["swaps", 10].encoded_image_string != images["swaps", 30].encoded_image_string
    assert logged(tmp_path / "run")[0] == logged(trained)[0]
    assert torch.equal(weights(tmp_path / "run"), weights(trained))


def weights(run: Path) -> torch.Tensor:
    return torch.cat([parameter.flatten() for parameter in Run.load(run).method.parameters()])


def test_max_time_ends_a_training(toy: Path, tmp_path: Path) -> None:
    arguments = ["--data", toy, "--out", tmp_path / "run", "--max-clips", "100000000", "--max-time", "2s"]
    assert run("--config", write_config(tmp_path), *arguments) == 0
    assert Run.load(tmp_path / "run").steps > 0


def test_a_damaged_shard_stops_the_training(tmp_path: Path, failure: Failure) -> None:
    prepare(ToyClips(), tmp_path / "toy", shard_sources=2)
    shard = tmp_path / "toy" / "train" / "train-000002.tar"
    data = bytearray(shard.read_bytes())
    data[5000] ^= 1
    shard.write_bytes(data)
    options = ["--config", write_config(tmp_path), "--data", tmp_path / "toy", "--out", tmp_path / "run"]
    assert "train-000002.tar: its SHA-256" in failure(main, *options, alone=False)


def test_a_value_may_have_the_name_of_a_component() -> None:
    arguments = ["--out", "y", "--data", "motion", "--max-clips", "7", "--motion", "crop"]
    config = config_of(make_parser().parse_args(arguments))
    assert config.data == "motion"
    assert config.max_clips == 7
    assert config.motion == {"name": "crop"}


@pytest.mark.parametrize("option", [["--anchor", "null"], ["--anchor=null"]])
def test_the_anchor_of_a_preset_can_be_removed(option: list[str]) -> None:
    preset = ["--config", "mug-compact", "--data", "x", "--out", "y"]
    assert config_of(make_parser().parse_args([*preset, "--anchor.hue", "0.3"])).anchor is not None
    assert config_of(make_parser().parse_args([*preset, *option])).anchor is None


@pytest.mark.parametrize("preset", presets())
def test_presets_build(preset: str) -> None:
    config = config_of(make_parser().parse_args(["--config", preset, "--data", "x", "--out", "y"]))
    assert config == TrainConfig.preset(preset, data="x", out="y")
    shapes = {"sprites": [3, 64, 64], "smmnist": [1, 64, 64], "timit": [80], "demo": [1, 16, 16], "mug": [3, 64, 64]}
    shape = next(shape for data, shape in shapes.items() if data in preset.split("-"))
    sources = {"sources": 3} if config.model["name"] == "fhvae" else {}
    method: Any = build({**config.model, "frame_shape": shape, **sources}, MODELS).eval()
    if config.model["name"] == "mocogan":
        assert method.sample(2, 4).shape == (2, 4, *shape)
    else:
        assert method.encode(torch.rand(2, 4, *shape)).dynamic.mean.shape[:2] == (2, 4)
    if config.anchor is not None:
        build(config.anchor, VIEWS)
    for name, view in {"motion": config.motion, "content": config.content}.items():
        assert (view is None) == (name not in method.needs)
        if view is not None:
            build(view, VIEWS)


def test_five_lines_of_python(toy: Path, tmp_path: Path) -> None:
    model = {"name": "cdsvae", "width": 0.1, "hidden_dim": 16}
    config = TrainConfig(data=str(toy), out=str(tmp_path / "run"), model=model, max_clips=24, batch_size=12)
    run = trainer.train(config)
    assert run.steps == 2
    assert run.config.motion == {"name": "video_motion"}  # the view of clips, unless another is named
    assert torch.equal(torch.cat([p.flatten() for p in run.method.parameters()]), weights(run.folder))
