"""The cost of a step of each method, by its compact preset for Sprites, on random clips."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch

from seqviews.augment.views import Views
from seqviews.model.protocol import Method
from seqviews.model.registry import MODELS, build
from seqviews.model.train.config import TrainConfig

PRESETS = {
    "cdsvae": "sprites-compact",
    **{name: f"{name}-sprites-compact" for name in ("dsvae", "s3vae", "rwae", "mocogan")},
}
CLIPS, FRAMES, SHAPE = 32, 8, (3, 64, 64)


def method_steps(clips: int = CLIPS) -> dict[str, Callable[[], float]]:
    """By method, a step of all of its players in float32; each returns the microseconds of processor time a clip."""
    generator = torch.Generator().manual_seed(0)
    anchor, motion = torch.rand(2, clips, FRAMES, *SHAPE, generator=generator)
    views = Views(anchor, motion, torch.rand(clips, FRAMES, generator=generator).argsort(1))
    return {name: partial(_step, *_built(preset), views) for name, preset in PRESETS.items()}


def _built(preset: str) -> tuple[Method, dict[str, torch.optim.Optimizer]]:
    config = TrainConfig.preset(preset, data="none", out="none")
    torch.manual_seed(0)
    method = build({**config.model, "frame_shape": list(SHAPE)}, MODELS)
    assert isinstance(method, Method)
    return method, {player: method.optimizer(player, config.learning_rate) for player in method.players}


def _step(method: Method, optimizers: dict[str, torch.optim.Optimizer], views: Views) -> float:
    started = time.process_time()
    for player, optimizer in optimizers.items():
        optimizer.zero_grad()
        method.loss(views, player).total.backward()  # type: ignore[no-untyped-call]  # not typed in torch
        optimizer.step()
    return 1e6 * (time.process_time() - started) / len(views.anchor)
