from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from untrained import save_run

from seqviews.model.methods.cdsvae import CDSVAE
from seqviews.model.train.module import CHECKPOINT, CONFIG
from seqviews.model.train.runs import load_config, load_model


def test_the_model_is_that_of_the_run(tmp_path: Path) -> None:
    run = save_run(tmp_path / "run")
    model = load_model(run)
    assert isinstance(model, CDSVAE)
    assert not model.training
    state = torch.load(run / CHECKPOINT, weights_only=True)["state_dict"]
    assert {f"model.{name}" for name in model.state_dict()} == set(state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[f"model.{name}"])
    assert load_config(run)["model"]["init_args"]["static_dim"] == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"static_dim": 9}, r"3 of \d+ weights differ, such as \S+ is \[\d+, 12\] in place of \[\d+, 13\]"),
        ({"width": 0.25}, r"such as encoder.layers.0.weight is \[8, 1, 4, 4\] in place of \[16, 1, 4, 4\]"),
    ],
)
def test_weights_of_another_model_are_told_in_a_sentence(tmp_path: Path, change: Any, message: str) -> None:
    run = save_run(tmp_path / "run", **change)
    with pytest.raises(ValueError, match=f"last.ckpt does not fit .* another version of seqviews: .*{message}$"):
        load_model(run)


def test_a_model_that_takes_no_such_argument_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"(?s)cannot build the model.*no_such_argument"):
        load_model(save_run(tmp_path / "run", no_such_argument=1))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut"])
def test_a_damaged_checkpoint_is_told(tmp_path: Path, content: bytes) -> None:
    run = save_run(tmp_path / "run")
    (run / CHECKPOINT).write_bytes(content)
    with pytest.raises(ValueError, match=r"last.ckpt is damaged, or no checkpoint"):
        load_model(run)
    (run / CHECKPOINT).unlink()
    with pytest.raises(ValueError, match="nothing was saved yet"):
        load_model(run)


@pytest.mark.parametrize("content", ["- a list", "seed: 0", "model: 3", "a: b: c", "\udcff"])
def test_what_is_no_configuration_is_told(tmp_path: Path, content: str) -> None:
    run = save_run(tmp_path / "run")
    (run / CONFIG).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match="is not the configuration of a training"):
        load_config(run)
    with pytest.raises(ValueError, match="it is not the --out of a training"):
        load_config(tmp_path)
