"""Methods with several players, or with a table of sources, resume bit for bit, optimisers included."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from toy_lengths import ToyLengths, clip_features, segment_features
from toy_speech import SEGMENTS, SPEAKERS, UTTERANCES

from seqviews.augment.views import to_unit
from seqviews.model.train import trainer as training
from seqviews.model.train.config import Optimizer, TrainConfig
from seqviews.model.train.runs import CHECKPOINT
from seqviews.pipeline.features import Features
from seqviews.pipeline.prepare.write import write_shards

SIZES = {"width": 0.1, "static_dim": 8, "dynamic_dim": 4, "hidden_dim": 16}
MODELS: dict[str, dict[str, Any]] = {
    "toy": {"name": "mocogan", "categories": 2, "width": 0.1},
    "squares": {"name": "rwae", "divergence": "gan", **SIZES},
    "speech": {"name": "fhvae", "rows": 8, "hidden_dim": 16, "layers": 1},  # fewer than the sources
    "padded_clips": {"name": "cdsvae", **SIZES},
    "padded_segments": {"name": "cdsvae", **SIZES},
}


def write_padded(out: Path, features: Features, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Records that differ in length, 24 and 6, on which a training validates after four steps."""
    monkeypatch.setattr(training, "VALIDATE_EVERY", 4)
    toy = ToyLengths(features)
    write_shards({"train": ["a", "b", "c", "d"], "val": ["e"]}, out, toy.records, toy.info, shard_sources=2)
    return out


@pytest.fixture
def padded_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_padded(tmp_path / "clips", clip_features(), monkeypatch)


@pytest.fixture
def padded_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_padded(tmp_path / "segments", segment_features(), monkeypatch)


class StopAt(Callback):
    """Ends a training as a lost machine would."""

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *args: Any) -> None:
        if module.step == 5:
            raise InterruptedError


def flat(state: Any) -> list[Tensor]:
    """The tensors of a nested state."""
    if isinstance(state, Tensor):
        return [state]
    values = state.values() if isinstance(state, dict) else state if isinstance(state, list) else []
    return [tensor for value in values for tensor in flat(value)]


@pytest.mark.parametrize(("data", "optimizer"), [*((data, "adam") for data in MODELS), ("toy", "muon")])
def test_it_resumes_bit_for_bit(
    data: str, optimizer: Optimizer, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 3)
    monkeypatch.setattr(training, "LOG_EVERY", 1)
    folder = request.getfixturevalue(data)
    options: dict[str, Any] = {"batch_size": 6, "max_clips": 48, "precision": "32-true", "optimizer": optimizer}
    whole, halves = (
        TrainConfig(data=str(folder), out=str(tmp_path / name), model=MODELS[data], **options)
        for name in ("whole", "halves")
    )
    training.train(whole)
    with pytest.raises(InterruptedError):
        training.train(halves, callbacks=[StopAt()])
    run = training.train(halves, resume=True)
    assert run.steps == 8
    states = [torch.load(tmp_path / name / CHECKPOINT, weights_only=True) for name in ("whole", "halves")]
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        one, other = (flat(state[part]) for state in states)
        assert len(one) == len(other) > 0 or part == "lr_schedulers"
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True)), part
    assert len(states[0]["optimizer_states"]) == len(run.method.players)
    log = (tmp_path / "whole" / "log" / "metrics.csv").read_bytes()
    assert log == (tmp_path / "halves" / "log" / "metrics.csv").read_bytes()


def test_a_method_on_data_that_it_cannot_take_is_an_error_before_anything_is_written(
    toy: Path, speech: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for name, data, message in (
        ("fhvae", toy, "FHVAE is for segments of speech, not for clips"),
        ("mocogan", speech, "MoCoGAN is for clips, not for segments"),
    ):
        with pytest.raises(ValueError, match=message):
            training.train(TrainConfig(data=str(data), out=str(out), model={"name": name}))
    with pytest.raises(ValueError, match=r"anchor augments clips, and .* holds speech"):
        training.train(TrainConfig(data=str(speech), out=str(out), anchor={"name": "video_motion"}))
    assert not out.exists()


def test_clips_are_augmented_in_training_and_not_in_validation(toy: Path, tmp_path: Path) -> None:
    config = TrainConfig(data=str(toy), out=str(tmp_path / "run"), anchor={"name": "video_motion"}, batch_size=6)
    config, data, module = training.assemble(config)
    assert config.anchor is not None
    assert config.anchor["name"] == "video_motion"
    batch = next(iter(data.stream))
    assert not torch.allclose(module.views_of(batch).anchor, to_unit(batch.x), atol=0.01)
    assert torch.equal(module.eval().views_of(batch).anchor, to_unit(batch.x))


def test_a_method_that_needs_the_source_gets_its_number_and_that_of_its_records(speech: Path, tmp_path: Path) -> None:
    config = TrainConfig(data=str(speech), out=str(tmp_path / "run"), model={"name": "fhvae"}, batch_size=30)
    _, data, module = training.assemble(config)
    batch = next(iter(data.stream))
    labels = module.views_of(batch).labels
    names = sorted(
        f"train{speaker}-s{sentence}" for speaker in range(SPEAKERS["train"]) for sentence in range(UTTERANCES)
    )
    assert labels["source"].tolist() == [names.index(key.rpartition("-")[0]) for key in batch.keys]
    assert labels["source_records"].tolist() == [SEGMENTS] * 30
    assert module.method.get_buffer("table.source").shape == (len(names),)
