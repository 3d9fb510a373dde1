"""The training step at the released architecture, ours against a reconstruction of the released script's.

The script itself does not run here. Its step is reconstructed from its description: three full passes, all else equal.
Its other work, such as a loader and augmentation of its own, is left out on both sides.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqviews.augment.views import Views
from seqviews.model.gaussian import Gaussian
from seqviews.model.information import info_nce, mws_information
from seqviews.model.methods.cdsvae_released import ReleasedCDSVAE
from seqviews.model.protocol import Loss

CLIPS, FRAMES, SHAPE = 32, 8, (3, 64, 64)
ALPHA, BETA, GAMMA = 1.0, 10.0, 1.0
SIDES = ("ours_float32", "ours_bfloat16", "released_float32", "released_float32_tuned", "released_bfloat16_tuned")
"""`released_float32` is the reconstructed step; tuned, it has our memory format and fused optimiser."""


@dataclass(frozen=True, slots=True, eq=False)
class FullPass:
    """What the released script computes of each view: latents, prior and clips, used or not."""

    static: Gaussian
    dynamic: Gaussian
    s: Tensor
    z: Tensor
    prior: Gaussian
    x: Tensor


class ThreePasses:
    """The reconstructed step: anchor, motion view and content view are each encoded and decoded whole.

    The networks are the model's; images are stored in a memory format: as in the script, or channels last.
    """

    def __init__(self, model: ReleasedCDSVAE, memory_format: torch.memory_format) -> None:
        self.model, self.memory_format = model, memory_format
        self.encoder = nn.Sequential(*model.encoder.children(), nn.Flatten())
        self.decoder = nn.Sequential(*model.decoder.children())

    def full_pass(self, x: Tensor) -> FullPass:
        """One view through all of the networks."""
        of, size = self.model, self.model.z_lstm.hidden_size
        frames = x.flatten(0, 1).contiguous(memory_format=self.memory_format)
        hidden, _ = of.z_lstm(self.encoder(frames).view(*x.shape[:2], -1))
        ends = torch.cat([hidden[:, -1, :size], hidden[:, 0, size:]], dim=1)
        static = Gaussian(of.f_mean(ends), of.f_logvar(ends))
        states, _ = of.z_rnn(hidden)
        dynamic = Gaussian(of.z_mean(states), of.z_logvar(states))
        s, z = static.rsample(), dynamic.rsample()
        latents = torch.cat([z, s[:, None].expand(-1, x.shape[1], -1)], dim=2).flatten(0, 1)
        clips = self.decoder(latents[:, :, None, None]).view(x.shape)
        return FullPass(static, dynamic, s, z, of.p_dynamic(z), clips)

    def loss(self, views: Views, player: str) -> Loss:
        """The objective, from three full passes."""
        assert views.motion is not None
        anchor, motion, content = map(self.full_pass, (views.anchor, views.motion, views.content))
        mws = mws_information(anchor.s, anchor.static, anchor.z, anchor.dynamic)
        kl = anchor.static.kl(Gaussian.standard(anchor.s)).mean() + anchor.dynamic.kl(anchor.prior).sum(1).mean()
        information = info_nce(anchor.static.mean, content.static.mean)
        information = information + info_nce(anchor.dynamic.mean.flatten(1), motion.dynamic.mean.flatten(1))
        error = functional.mse_loss(anchor.x, views.anchor, reduction="sum") / len(anchor.x)
        return Loss(error + ALPHA * kl - BETA * information + GAMMA * mws.between)


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One of `SIDES`, with clips and views ready."""

    loss: Callable[[Views, str], Loss]
    encoder: nn.Module
    decoder: nn.Module
    optimizer: torch.optim.Optimizer
    views: Views
    bfloat16: bool

    @classmethod
    def named(cls, name: str, clips: int = CLIPS, width: float = 1.0, device: str = "cpu") -> Side:
        """A new model and its step, the same weights for each name; `compiled` and `cuda_graphs` may end a name."""
        tuned = name != "released_float32"
        torch.manual_seed(0)
        model = ReleasedCDSVAE(frame_shape=SHAPE, alpha=ALPHA, beta=BETA, gamma=GAMMA, width=width).to(device)
        order = torch.channels_last if tuned else torch.contiguous_format
        model.to(memory_format=order)  # type: ignore[call-overload]  # not in torch's stub
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=tuned)
        views = random_views(clips, channels_last=tuned, device=device)
        if name.endswith(("compiled", "cuda_graphs")):
            mode = "reduce-overhead" if name.endswith("cuda_graphs") else "default"
            compile_module: Any = torch.compile if device == "cuda" else partial(torch.compile, backend="eager")
            model.encoder, model.decoder = (
                compile_module(model.encoder, mode=mode),
                compile_module(model.decoder, mode=mode),
            )
        if name.startswith("ours"):
            return cls(model.loss, model.encoder, model.decoder, optimizer, views, "bfloat16" in name)
        passes = ThreePasses(model, order)
        return cls(passes.loss, passes.encoder, passes.decoder, optimizer, views, "bfloat16" in name)

    def step(self) -> float:
        """Do a step; its clips/s."""
        return 1000 * CLIPS / sum(self.stages().values())

    def run(self) -> list[float]:
        """Do a step; when it started, had its loss, had its gradients and ended, by the host's clock."""
        times = [time.perf_counter()]
        with torch.autocast(self.views.anchor.device.type, torch.bfloat16, enabled=self.bfloat16):
            total = self.loss(self.views, "model").total
        times.append(time.perf_counter())
        self.optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]  # not typed in torch
        times.append(time.perf_counter())
        self.optimizer.step()
        return [*times, time.perf_counter()]

    def stages(self) -> dict[str, float]:
        """Do a step; the milliseconds of its stages. What is neither encoder nor decoder is "other networks, loss"."""
        marks = {"encoder": 0.0, "decoder": 0.0}
        hooks = []

        def add(name: str, sign: int, *_: object) -> None:
            marks[name] += sign * time.perf_counter()

        for name, module in (("encoder", self.encoder), ("decoder", self.decoder)):
            hooks += [module.register_forward_pre_hook(partial(add, name, -1))]
            hooks += [module.register_forward_hook(partial(add, name, 1))]
        started, forward, backward, ended = self.run()
        for hook in hooks:
            hook.remove()
        seconds = marks | {
            "other networks, loss": forward - started - sum(marks.values()),
            "backward": backward - forward,
            "optimizer": ended - backward,
        }
        return {name: 1000 * value for name, value in seconds.items()}


def random_views(clips: int, *, channels_last: bool, device: str = "cpu") -> Views:
    """Random clips, a motion view and an order; channels last, as our augmentation gives them, or as in the script."""
    generator = torch.Generator().manual_seed(0)
    anchor, motion = torch.rand(2, clips, FRAMES, *SHAPE, generator=generator).to(device)
    if channels_last:
        anchor, motion = (x.movedim(2, 4).contiguous().movedim(4, 2) for x in (anchor, motion))
    return Views(anchor, motion, torch.rand(clips, FRAMES, generator=generator).argsort(1).to(device))
