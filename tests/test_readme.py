"""The README's contrastive loop on other voices runs as it is written, on vowels in place of the reader's data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from seqviews.augment import VoiceConverter

README = Path(__file__).parents[1] / "README.md"
RATE, SAMPLES = 16_000, 4000


def vowels(batch: int) -> torch.Tensor:
    """Harmonics under a resonance at a frequency of their own: float32 `[batch, SAMPLES]`."""
    t = torch.arange(SAMPLES) / RATE
    waves = []
    for i in range(batch):
        harmonics = torch.arange(1, 30)[:, None] * (110 + 10 * i)
        gains = 1 / (1 + ((harmonics - 500 - 300 * i) / 150) ** 2)
        wave = (gains * torch.sin(2 * torch.pi * harmonics * t)).sum(0)
        waves.append(0.3 * wave / wave.abs().max())
    return torch.stack(waves).float()


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(SAMPLES // 2 + 1, 8)
        self.seen: list[torch.Tensor] = []

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        self.seen.append(waves)
        return self.linear(torch.fft.rfft(waves).abs().log1p())  # type: ignore[no-any-return]


def test_the_loop_on_other_voices_runs_and_learns() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (code,) = [block for block in blocks if "VoiceConverter(" in block]
    assert len(code.splitlines()) <= 11
    torch.manual_seed(0)
    network, losses = Network(), []

    class Optimizer(torch.optim.Adam):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            losses.append(float(names["loss"].detach()))
            super().step()

    names: dict[str, Any] = {
        "torch": torch,
        "np": np,
        "F": functional,
        "VoiceConverter": VoiceConverter,
        "network": network,
    }
    names |= {"loader": [vowels(6)] * 8, "network": network, "optimizer": Optimizer(network.parameters(), lr=3e-3)}
    exec(compile(code, "README", "exec"), names)
    assert losses[-1] < losses[0] - 0.1
    waves, voices = network.seen[0].chunk(2)
    assert torch.equal(waves, vowels(6))
    assert ((waves - voices).square().mean(1) > 0.1 * waves.square().mean(1)).all()
    assert not torch.equal(network.seen[0][6:], network.seen[1][6:])  # other seeds, other voices
