from pathlib import Path
from typing import Any

import pytest
import torch
from untrained import save_run

from seqviews.model.methods.cdsvae import CDSVAE
from seqviews.model.scaling import MelScale
from seqviews.model.train.config import CONFIG
from seqviews.model.train.runs import CHECKPOINT, WEIGHTS, Run
from seqviews.pipeline.features import MelFeatures


def test_a_folder_gives_configuration_method_and_scale(tmp_path: Path) -> None:
    scale = MelScale(MelFeatures(mean=(1.0,) * 16, std=(2.0,) * 16))
    folder = save_run(tmp_path / "run", (16,), scale)
    run = Run.load(folder)
    assert isinstance(run.method, CDSVAE)
    assert not run.method.training
    saved = torch.load(folder / CHECKPOINT, weights_only=True)["state_dict"]
    for name, value in run.method.state_dict().items():
        assert torch.equal(value, saved[f"{WEIGHTS}{name}"])
    assert (run.config.model["static_dim"], run.steps, run.scale.modality) == (8, 20, "segment")
    assert torch.equal(run.scale(torch.full((16,), 5.0)), torch.full((16,), 2.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"static_dim": 9}, r"3 of \d+ weights differ, for example \S+ is \[\d+, 12\] instead of \[\d+, 13\]$"),
        ({"width": 0.25}, r"for example encoder.layers.0.weight is \[8, 1, 4, 4\] instead of \[16, 1, 4, 4\]$"),
        ({"no_such_argument": 1}, "cannot build the model.*no_such_argument"),
    ],
)
def test_a_configuration_of_another_method_is_reported_in_a_sentence(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"(last.ckpt does not fit .* another version of seqviews: .*)?{message}"):
        Run.load(save_run(tmp_path / "run", **change))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut"])
def test_a_damaged_checkpoint_is_reported(tmp_path: Path, content: bytes) -> None:
    run = save_run(tmp_path / "run")
    (run / CHECKPOINT).write_bytes(content)
    with pytest.raises(ValueError, match=r"last.ckpt is damaged, or not the checkpoint"):
        Run.load(run)
    (run / CHECKPOINT).unlink()
    with pytest.raises(ValueError, match="nothing was saved yet"):
        Run.load(run)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a list", "is not a YAML file of keys and values"),
        ("data: x", "missing 1 required keyword-only argument: 'out'"),
        ("data: x\nout: y\nmodl: 3", "has an unknown key 'modl'; known: data, out, "),
        ("data: x\nout: y\nmodel: 3", r"model is '3', not Mapping\[str, Any\]"),
        ("data: x\nout: y\nseed: true", "seed is 'True', not int"),
        ("a: b: c", "is not YAML of plain data"),
        ("\udcff", "is not YAML of plain data"),
        ("a: " + "x" * (1 << 20), "is not a YAML file of keys and values of at most 1 MiB"),
    ],
)
def test_what_is_not_a_configuration_is_reported(tmp_path: Path, content: str, message: str) -> None:
    run = save_run(tmp_path / "run")
    (run / CONFIG).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=message):
        Run.load(run)
    with pytest.raises(ValueError, match="it is not the --out of a training"):
        Run.load(tmp_path)
