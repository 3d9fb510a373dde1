"""Methods of other packages: installed, found by name, trained, resumed, loaded and evaluated like our own."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plugin_packages
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from tiny_training import write_config
from tool_calls import Failure, call

from seqviews.model.registry import MODELS, find_class
from seqviews.model.train import trainer as training
from seqviews.model.train.config import TrainConfig
from seqviews.model.train.runs import CHECKPOINT, LOG, Run
from seqviews.tools import evaluate, train

MISSING = {"tiny_gan": "encode", "mean_clip": "encode", "source_table": "sample_static"}
OWN = [
    "cdsvae",
    "cdsvae_objects",
    "cdsvae_recordings",
    "cdsvae_released",
    "cdsvae_warped",
    "dsvae",
    "fhvae",
    "mocogan",
    "rwae",
    "s3vae",
]
STEPS = 20


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plugin_packages.install(tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("installed"))


@pytest.fixture(autouse=True)
def plugins(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(installed)
    monkeypatch.setattr(training, "LOG_EVERY", 2)
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 5)
    yield
    for module in plugin_packages.MODULES:
        sys.modules.pop(module, None)


class StopAt(Callback):
    """Ends a training as a lost machine would, after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *args: Any) -> None:
        if module.step == self.step:
            raise InterruptedError


def options(name: str, data: Path, out: Path) -> list[str]:
    return ["--model", name, "--data", str(data), "--out", str(out), "--max-clips", str(12 * STEPS), "--batch-size=12"]


@pytest.mark.parametrize("name", sorted(MISSING))
def test_it_trains_by_its_name_resumes_bit_for_bit_and_is_evaluated(name: str, squares: Path, tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert call(train.main, *options(name, squares, whole)) == 0
    config = train.config_of(train.make_parser().parse_args(options(name, squares, halves)))
    with pytest.raises(InterruptedError):
        training.train(config, callbacks=[StopAt(13)])
    assert call(train.main, *options(name, squares, halves), "--resume") == 0
    assert (whole / LOG).read_bytes() == (halves / LOG).read_bytes()
    states = [torch.load(folder / CHECKPOINT, weights_only=True)["state_dict"] for folder in (whole, halves)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    run = Run.load(whole)
    assert run.steps == STEPS
    assert type(run.method).__module__ == name
    judging = ["--judges", tmp_path, "--judge-steps", 20, "--out", tmp_path / "judged"]
    assert call(evaluate.main, "--run", whole, "--data", squares, *judging) == 0
    metrics = json.loads((tmp_path / "judged" / "metrics.json").read_text())
    assert any(key.startswith("sampled/" if MISSING[name] == "encode" else "swap/") for key in metrics)
    assert f"has no {MISSING[name]}" in (tmp_path / "judged" / "report.html").read_text()


def test_each_player_steps_on_its_own_parameters(toy: Path, tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    class Before(Callback):
        def on_train_batch_start(self, trainer: Trainer, module: LightningModule, *args: Any) -> None:
            seen.append({name: p.detach().clone() for name, p in module.named_parameters()})

    config = train.config_of(train.make_parser().parse_args(options("tiny_gan", toy, tmp_path / "run")))
    run = training.train(config, callbacks=[Before()])
    first, second = seen[:2]
    assert all(not torch.equal(first[name], second[name]) for name in first if name.endswith("weight"))
    header = (run.folder / LOG).read_text().splitlines()[0].split(",")
    assert {"loss/generator", "loss/discriminator", "gradient_norm/generator", "realness"} <= set(header)


def test_what_the_data_decides_is_kept_and_sources_rule_out_a_validation_loss(
    toy: Path, few_digits: Path, tmp_path: Path, failure: Failure
) -> None:
    assert call(train.main, *options("source_table", toy, tmp_path / "run"), "--model.size", "3") == 0
    config = TrainConfig.read(tmp_path / "run" / "config.yaml")
    assert config.model == {"name": "source_table", "frame_shape": [3, 16, 16], "sources": 12, "size": 3}
    assert config.motion is None  # not needed, so not made
    line = failure(train.main, *options("source_table", toy, tmp_path / "other"), "--patience", "2")
    assert "has other sources in its val split" in line
    line = failure(train.main, *options("source_table", few_digits, tmp_path / "other"), "--make-from", "sklearn")
    assert "source_table needs the source of each record, and records that are made have none" in line


def test_names_that_are_no_models(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = ", ".join(sorted([*OWN, *MISSING, "broken", "no_class"]))
    for name, message in (
        ("plane", f"no installed package registers a model 'plane'; registered: {known}"),
        ("broken", "broken cannot be imported.*NoSuchModel"),
        ("no_class", r"no_class is not a class derived from seqviews\.model\.protocol\.Method"),
    ):
        with pytest.raises(ValueError, match=message):
            find_class(name, MODELS)
    info = tmp_path / "rival-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[seqviews.models]\ntiny_gan = rival:Model\n")
    monkeypatch.syspath_prepend(tmp_path)
    several = "several packages register a model tiny_gan, rival, tiny-gan: give its import"
    with pytest.raises(ValueError, match=several):
        find_class("tiny_gan", MODELS)
    assert find_class("tiny_gan.TinyGAN", MODELS).__name__ == "TinyGAN"


def test_a_name_on_the_command_line_replaces_that_of_a_file(toy: Path, tmp_path: Path, failure: Failure) -> None:
    unknown = failure(train.main, *options("plane", toy, tmp_path / "run"))
    assert "registers a model 'plane'; registered: broken, cdsvae" in unknown
    assert not (tmp_path / "run").exists()
    config = write_config(tmp_path, max_clips=12)
    assert call(train.main, "--config", config, "--model=mean_clip", "--data", toy, "--out", tmp_path / "run") == 0
    assert TrainConfig.read(tmp_path / "run" / "config.yaml").model == {"name": "mean_clip", "frame_shape": [3, 16, 16]}
