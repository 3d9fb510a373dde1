"""Models of other packages: installed, found by name, trained and loaded like our own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import yaml
from square_models import PerfectModel
from tiny_training import TINY
from torch import nn

from seqviews.model.methods.cdsvae import CDSVAE
from seqviews.model.protocol import SequenceModel, check_model, class_path_of, with_class_path
from seqviews.model.train.module import build_model
from seqviews.model.train.runs import load_model
from seqviews.tools.train import main

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "plain-model"
version = "1.0"
[project.entry-points."seqviews.models"]
plain = "plain_model:PlainModel"
broken-plain = "plain_model:NoSuchModel"
no-module = "plain_model:square"
[tool.setuptools]
py-modules = ["plain_model"]
"""
MODEL = '''
"""A model of another package: s is a linear map of the mean frame, z_t of frame t, and the priors are N(0, I)."""

import torch
from torch import nn

from seqviews.model import Gaussian, LossTerms, Posterior


def square(x):
    return x * x


class PlainModel(nn.Module):
    def __init__(self, *, frame_shape: tuple[int, int, int], size: int = 4) -> None:
        super().__init__()
        self.frame_shape, self.size = tuple(frame_shape), size
        pixels = torch.Size(frame_shape).numel()
        self.to_s, self.to_z, self.to_x = nn.Linear(pixels, size), nn.Linear(pixels, size), nn.Linear(2 * size, pixels)

    def encode(self, x):
        s, z = self.to_s(x.mean(1).flatten(1)), self.to_z(x.flatten(2))
        return Posterior(Gaussian(s, torch.zeros_like(s)), Gaussian(z, torch.zeros_like(z)))

    def decode(self, s, z):
        latents = torch.cat([s[:, None].expand(-1, z.shape[1], -1), z], dim=2)
        return torch.sigmoid(self.to_x(latents)).unflatten(2, self.frame_shape)

    def sample_static(self, n, generator=None):
        return torch.randn(n, self.size, generator=generator)

    def sample_dynamic(self, n, length, generator=None):
        return torch.randn(n, length, self.size, generator=generator)

    def loss(self, views, generator=None):
        q = self.encode(views.anchor)
        x = self.decode(q.static.rsample(generator), q.dynamic.rsample(generator))
        kl_static = q.static.kl(Gaussian.standard(q.static.mean)).mean()
        kl_dynamic = q.dynamic.kl(Gaussian.standard(q.dynamic.mean)).sum(1).mean()
        zero = torch.zeros(())
        return LossTerms((x - views.anchor).square().sum() / len(x), kl_static, kl_dynamic, *[zero] * 7)
'''


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed in it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "plain_model.py").write_text(MODEL)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True, stdout=subprocess.DEVNULL)
    return target


@pytest.fixture
def plain(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(installed)
    yield
    sys.modules.pop("plain_model", None)


def train(*argv: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(argv))
    return int(stopped.value.code or 0)


def write_config(folder: Path, model: dict[str, Any]) -> str:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, "max_clips": 240, "model": model}))
    return str(path)


@pytest.mark.usefixtures("plain")
def test_it_is_trained_by_its_name_in_a_configuration(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {"class_path": "plain", "init_args": {"frame_shape": [3, 16, 16], "size": 5}}
    config = write_config(tmp_path, model)
    assert train("--config", config, "--data", str(toy), "--out", str(tmp_path / "run")) == 0
    assert "steps: 20" in capsys.readouterr().out
    trained = load_model(tmp_path / "run")
    assert type(trained).__name__ == "PlainModel"
    torch.manual_seed(0)
    untrained = cast(Any, build_model(model))
    assert (cast(Any, trained).to_x.bias - untrained.to_x.bias).abs().max() > 0.01
    posterior = cast(SequenceModel, trained).encode(torch.rand(2, 4, 3, 16, 16))
    assert posterior.dynamic.mean.shape == (2, 4, 5)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("option", [["--model", "plain"], ["--model=plain"]])
def test_it_is_trained_by_its_name_on_the_command_line(toy: Path, tmp_path: Path, option: list[str]) -> None:
    config = write_config(tmp_path, TINY["model"])
    options = [*option, "--model.frame_shape=[3,16,16]", "--model.size", "3", "--max-clips", "12"]
    assert train("--config", config, "--data", str(toy), "--out", str(tmp_path / "run"), *options) == 0
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["model"]
    assert saved == {"class_path": "plain_model.PlainModel", "init_args": {"frame_shape": [3, 16, 16], "size": 3}}


@pytest.mark.usefixtures("plain")
def test_a_name_that_nobody_registers(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = "no installed package registers a model plane; known are: broken-plain, cdsvae, no-module, plain"
    arguments = ["--data", str(toy), "--out", str(tmp_path / "run")]
    assert train("--config", write_config(tmp_path, TINY["model"]), *arguments, "--model", "plane") == 2
    assert told in capsys.readouterr().err
    assert train("--config", write_config(tmp_path, {"class_path": "plane"}), *arguments) == 2
    assert f"tiny.yaml: {told}" in capsys.readouterr().err
    with pytest.raises(ValueError, match=told):
        build_model({"class_path": "plane"})
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("plain")
def test_names_that_are_no_models(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"broken-plain of plain-model cannot be imported.*NoSuchModel"):
        class_path_of("broken-plain")
    with pytest.raises(ValueError, match="no-module of plain-model is not a class"):
        class_path_of("no-module")
    info = tmp_path / "rival-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[seqviews.models]\nplain = rival:Model\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="several packages register a model plain, plain-model, rival"):
        class_path_of("plain")


def test_our_own_model_is_registered_too() -> None:
    assert class_path_of("cdsvae") == "seqviews.model.methods.cdsvae.CDSVAE"
    assert isinstance(build_model({**TINY["model"], "class_path": "cdsvae"}), CDSVAE)


def test_a_class_path_stays() -> None:
    assert with_class_path(TINY["model"]) == TINY["model"]


def test_what_is_no_model_of_sequences_is_refused(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_model(PerfectModel())
    with pytest.raises(
        ValueError, match="Flatten is not a model of sequences: it has no encode, decode, sample_static"
    ):
        check_model(nn.Flatten())
    config = write_config(tmp_path, {"class_path": "torch.nn.Flatten"})
    assert train("--config", config, "--data", str(toy), "--out", str(tmp_path / "run")) == 1
    assert "Flatten is not a model of sequences" in capsys.readouterr().err
