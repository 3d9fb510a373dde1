"""Three methods of other packages: one with two players, one without an encoder, one that needs sources."""

import subprocess
import sys
from pathlib import Path

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "{package}"
version = "1.0"
[project.entry-points."seqviews.models"]
{entries}
[tool.setuptools]
py-modules = ["{module}"]
"""
TINY_GAN = '''
"""A generator and a discriminator of clips, which step in turn."""

import torch
from torch import nn
from torch.nn.functional import softplus

from seqviews.model import Curve, Loss, Method


class TinyGAN(Method):
    players = ("discriminator", "generator")
    curves = {"realness": Curve("score of real clips", unit="")}

    def __init__(self, *, frame_shape: tuple[int, int, int], length: int = 4, size: int = 8) -> None:
        super().__init__()
        self.shape, self.size = (length, *frame_shape), size
        pixels = torch.Size(self.shape).numel()
        self.generator = nn.Sequential(nn.Linear(size, 16), nn.ReLU(), nn.Linear(16, pixels), nn.Sigmoid())
        self.discriminator = nn.Sequential(nn.Linear(pixels, 16), nn.ReLU(), nn.Linear(16, 1))

    def optimizer(self, player, learning_rate):
        return torch.optim.Adam(self.parameters_of(player), lr=learning_rate, betas=(0.5, 0.999))

    def loss(self, views, player):
        fake = self.discriminator(self.generator(torch.randn(len(views.anchor), self.size)))
        if player == "generator":
            return Loss(softplus(-fake).mean())
        real = self.discriminator(views.anchor.flatten(1))
        return Loss(softplus(-real).mean() + softplus(fake).mean(), {"realness": real.mean()})

    def sample(self, n, length, generator=None):
        noise = torch.randn(n, self.size, generator=generator)
        return self.generator(noise).unflatten(1, self.shape)[:, :length]
'''
MEAN_CLIP = '''
"""The mean clip and how far clips are from it: a generator without an encoder, with one player."""

import torch
from torch import nn

from seqviews.model import Loss, Method


class MeanClip(Method):
    def __init__(self, *, frame_shape: tuple[int, int, int], length: int = 4) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.full((length, *frame_shape), 0.5))

    def loss(self, views, player):
        error = (views.anchor - self.mean).square().sum() / len(views.anchor)
        return Loss(error, {"reconstruction": error})

    def sample(self, n, length, generator=None):
        noise = 0.1 * torch.randn(n, *self.mean[:length].shape, generator=generator)
        return (self.mean[:length] + noise).clamp(0, 1)
'''
SOURCE_TABLE = '''
"""Clips as an embedding of their source, one a training source, and of each frame."""

import torch
from torch import nn

from seqviews.model import Gaussian, Loss, Method, Posterior


class SourceTable(Method):
    needs = frozenset({"source"})

    def __init__(self, *, frame_shape: tuple[int, int, int], sources: int, size: int = 4) -> None:
        super().__init__()
        self.shape, self.table = tuple(frame_shape), nn.Embedding(sources, size)
        pixels = torch.Size(frame_shape).numel()
        self.to_s, self.to_z, self.to_x = nn.Linear(pixels, size), nn.Linear(pixels, size), nn.Linear(2 * size, pixels)

    def encode(self, x):
        s, z = self.to_s(x.mean(1).flatten(1)), self.to_z(x.flatten(2))
        return Posterior(Gaussian(s, torch.zeros_like(s)), Gaussian(z, torch.zeros_like(z)))

    def decode(self, s, z):
        latents = torch.cat([s[:, None].expand(-1, z.shape[1], -1), z], dim=2)
        return torch.sigmoid(self.to_x(latents)).unflatten(2, self.shape)

    def loss(self, views, player):
        q, s = self.encode(views.anchor), self.table(views.labels["source"])
        error = (self.decode(s, q.dynamic.mean) - views.anchor).square().sum() / len(s)
        regression = (q.static.mean - s).square().sum(1).mean()
        return Loss(error + regression, {"reconstruction": error, "regression": regression})


def square(x):
    return x * x
'''
SOURCES = {"source_table": "SourceTable", "broken": "NoSuchModel", "no_class": "square"}
PACKAGES = {
    "tiny-gan": ("tiny_gan", TINY_GAN, {"tiny_gan": "TinyGAN"}),
    "mean-clip": ("mean_clip", MEAN_CLIP, {"mean_clip": "MeanClip"}),
    "source-table": ("source_table", SOURCE_TABLE, SOURCES),
}
MODULES = [module for module, _, _ in PACKAGES.values()]


def install(sources: Path, target: Path) -> Path:
    """Install the packages into a folder."""
    for package, (module, code, entries) in PACKAGES.items():
        folder = sources / package
        folder.mkdir()
        lines = "\n".join(f'{name} = "{module}:{attribute}"' for name, attribute in entries.items())
        (folder / "pyproject.toml").write_text(PROJECT.format(package=package, module=module, entries=lines))
        (folder / f"{module}.py").write_text(code)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    folders = [str(sources / package) for package in PACKAGES]
    subprocess.run([*pip, "--target", str(target), *folders], check=True, stdout=subprocess.DEVNULL)
    return target
