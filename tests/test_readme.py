"""The README's code runs as it is written, on toy data in place of the reader's."""

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from toy_clips import ToyClips

from seqviews.augment import VoiceConverter
from seqviews.model.evaluate import evaluation
from seqviews.pipeline.manifest import DatasetInfo
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.records import Clip

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
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


def code_with(text: str) -> str:
    (code,) = [block for block in BLOCKS if text in block]
    return str(code)


def run(code: str, names: dict[str, Any]) -> dict[str, Any]:
    exec(compile(code, "README", "exec", dont_inherit=True), names)
    return names


class ShadedClips(ToyClips):
    """Clips as long as the preset requires, with factors that a judge can learn."""

    @property
    def info(self) -> DatasetInfo:
        return replace(super().info, dynamic={})

    def records(self, source: str, rng: np.random.Generator) -> Iterator[Clip]:
        for clip in super().records(source, rng):
            yield replace(clip, factors={"shade": clip.factors["shade"]})


@pytest.fixture
def in_a_folder_with_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(ShadedClips((22, 3, 3), shape=(8, 16, 16, 3)), tmp_path / "data" / "sprites")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("in_a_folder_with_data")
def test_a_preset_is_trained_and_evaluated_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = functools.partial(evaluation.EvaluateConfig, judges=tmp_path, judge_steps=20)
    monkeypatch.setattr(evaluation, "EvaluateConfig", few)
    code = code_with("evaluate(run")
    assert len(code.splitlines()) <= 6
    assert run(code.replace("400_000", "64"), {})["run"].steps == 2
    out = Path("runs/sprites/evaluation")
    assert "swap/shade/accuracy" in json.loads((out / "metrics.json").read_text())
    assert (out / "report.html").is_file()


@pytest.mark.usefixtures("in_a_folder_with_data")
def test_the_stream_yields_batches_and_views() -> None:
    names = run(code_with("SequenceStream(").replace("range(10)", "range(2)"), {})
    assert (
        names["views"].motion.shape == names["views"].content.shape == (2, 8, 3, 16, 16)
    )  # the last batch of 66 clips
    assert (names["stream"].epoch, names["batch"].epoch) == (2, 1)


def test_a_motion_view_is_drawn_and_applied() -> None:
    names = run(code_with("VideoMotion(scale"), {})
    assert names["views"].shape == names["clips"].shape


def test_the_loop_on_other_voices_runs_and_learns() -> None:
    code = code_with("VoiceConverter(")
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
    run(code, names)
    assert losses[-1] < losses[0] - 0.1
    waves, voices = network.seen[0].chunk(2)
    assert torch.equal(waves, vowels(6))
    assert ((waves - voices).square().mean(1) > 0.1 * waves.square().mean(1)).all()
    assert not torch.equal(network.seen[0][6:], network.seen[1][6:])  # other seeds, other voices
