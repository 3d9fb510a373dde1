"""Judge: a classifier, trained with labels, that predicts the factors of a clip [P 4.2]."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqviews.model.evaluate.clips.metrics import trajectory_distance
from seqviews.model.evaluate.clips.pairs import PairHead
from seqviews.pipeline.records import Batch

FEATURES = 96
SHIFT, BRIGHTNESS, NOISE = 1 / 32, 0.05, 0.03


class Judge(nn.Module):
    """One encoder and a head for each factor.

    Frames pass through a small convolutional network. Its maxima over the frame encode what is seen, a linear layer
    over the map encodes where, and two convolutions over time encode how it changes. The head of a factor with classes
    takes the means of these features over time, that of a trajectory the features of each frame.

    Args:
        frame_shape: (C, H, W).
        classes: Number of classes of each factor that has classes.
        trajectories: Number of points of each factor that is a trajectory.
        pairs: The parts of the classes, int64 `[K, 2]`, of each factor whose classes are pairs.

    Example:
        >>> judge = Judge((1, 32, 32), classes={"digits": 10}, trajectories={"trajectory": 1}).eval()
        >>> {name: list(value.shape) for name, value in judge.predict(torch.rand(4, 8, 1, 32, 32)).items()}
        {'digits': [4, 10], 'trajectory': [4, 8, 1, 2]}
    """

    def __init__(
        self,
        frame_shape: tuple[int, int, int],
        classes: Mapping[str, int],
        trajectories: Mapping[str, int],
        pairs: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        channels, height, width = frame_shape
        self.scale = float(width)
        stages: list[nn.Module] = []
        for wide in (16, 32, 64, 128, 128):
            if min(height, width) < 8:
                break
            stages += _convolution(channels, wide, stride=2)
            channels, height, width = wide, (height + 1) // 2, (width + 1) // 2
        self.what = nn.Sequential(*stages, *_convolution(channels, FEATURES, stride=1))
        self.where = nn.Sequential(nn.Flatten(), nn.Linear(FEATURES * height * width, FEATURES))
        self.change = nn.Sequential(
            nn.BatchNorm1d(2 * FEATURES),
            nn.ReLU(),
            nn.Conv1d(2 * FEATURES, FEATURES, 3, padding=1, bias=False),
            nn.BatchNorm1d(FEATURES),
            nn.ReLU(),
            nn.Conv1d(FEATURES, FEATURES, 3, padding=1),
        )
        heads = {
            name: PairHead(3 * FEATURES, pairs[name]) if name in pairs else nn.Linear(3 * FEATURES, count)
            for name, count in classes.items()
        }
        self.classes, self.pairs = nn.ModuleDict(heads), list(pairs)
        for name, count in classes.items():
            self.register_buffer(f"seen_{name}", torch.zeros(count, dtype=torch.bool))
        self.points = nn.ModuleDict({name: nn.Linear(3 * FEATURES, 2 * count) for name, count in trajectories.items()})
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Logits `[B, K]` or trajectories `[B, T, n, 2]` in pixels, of clips `[B, T, C, H, W]` in [0, 1]."""
        frames = self.frame_features(x)
        features = torch.cat([frames, self.change(frames.mT).mT], dim=2)
        pooled = features.relu().mean(1)
        logits = {name: head(pooled) for name, head in self.classes.items()}
        points = {name: head(features) * self.scale for name, head in self.points.items()}
        return logits | {name: value.reshape(*x.shape[:2], -1, 2) for name, value in points.items()}

    def frame_features(self, x: Tensor) -> Tensor:
        """What is seen in each frame of clips `[B, T, C, H, W]` in [0, 1], and where: `[B, T, 2 * FEATURES]`."""
        maps = self.what(x.flatten(0, 1))
        return torch.cat([maps.amax(dim=(2, 3)), self.where(maps)], dim=1).reshape(*x.shape[:2], -1)

    def seen(self, name: str) -> Tensor:
        """The classes of a factor that it was trained on, bool `[K]`."""
        return self.get_buffer(f"seen_{name}")

    @torch.inference_mode()
    def predict(self, x: Tensor) -> dict[str, Tensor]:
        """Like `forward`, with probabilities in place of logits; of pairs, their means over `shifted` clips, too."""
        predicted = {name: value.softmax(1) if value.ndim == 2 else value for name, value in self(x).items()}
        if self.pairs:
            further = [self(clips) for clips in shifted(x, max(1, round(SHIFT * self.scale)))]
            for name in self.pairs:
                predicted[name] = torch.stack([predicted[name], *(value[name].softmax(1) for value in further)]).mean(0)
        return predicted

    def loss(self, x: Tensor, factors: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of the classes plus the error of the trajectories in tenths of the frame's width: a scalar.

        Classes that it was not trained on, such as people of another split, do not count.
        """
        total = x.new_zeros(())
        for name, value in self(x).items():
            if value.ndim == 2:
                seen = self.seen(name)
                if self.training:
                    seen[factors[name]] = True
                losses = functional.cross_entropy(value, factors[name], reduction="none")
                known = seen[factors[name]]
                total = total + (losses * known).sum() / known.sum().clamp_min(1)
            else:
                total = total + trajectory_distance(value, factors[name]).mean() * (10 / self.scale)
        return total


def _convolution(before: int, channels: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(before, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


def shifted(x: Tensor, pixels: int) -> list[Tensor]:
    """Clips `[B, T, C, H, W]` moved up, down, to the left and to the right; the edges are repeated.

    >>> [clip.flatten().tolist() for clip in shifted(torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None, None], 1)]
    [[3.0, 4.0, 3.0, 4.0], [1.0, 2.0, 1.0, 2.0], [2.0, 2.0, 4.0, 4.0], [1.0, 1.0, 3.0, 3.0]]
    """
    height, width = x.shape[-2:]
    padded = functional.pad(x.flatten(0, 1), (pixels,) * 4, mode="replicate")
    corners = ((2 * pixels, pixels), (0, pixels), (pixels, 2 * pixels), (pixels, 0))
    return [padded[:, :, top : top + height, left : left + width].reshape(x.shape) for top, left in corners]


def jitter(batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Light augmentation: one shift, one brightness and one noise image per clip, drawn on the CPU.

    Returns:
        Clips `[B, T, C, H, W]` in [0, 1], and their factors: trajectories shift with their frames.
    """
    frames = batch.x.permute(0, 1, 3, 4, 2)  # contiguous: channels are stored last
    count, length, height, width, channels = frames.shape
    device = frames.device
    maximum = round(SHIFT * width)
    shift = torch.randint(-maximum, maximum + 1, (count, 2), generator=generator).to(device)  # right, down
    gain = (1 + BRIGHTNESS * (2 * torch.rand(count, 1, 1, 1, 1, generator=generator) - 1)).to(device)
    noise = NOISE * torch.randn(count, 1, height, width, channels, generator=generator).to(device)
    clips = torch.arange(count, device=device)[:, None, None, None]
    times = torch.arange(length, device=device)[:, None, None]
    rows = (torch.arange(height, device=device) - shift[:, 1:]).clamp(0, height - 1)[:, None, :, None]
    columns = (torch.arange(width, device=device) - shift[:, :1]).clamp(0, width - 1)[:, None, None, :]
    x = torch.addcmul(noise, frames[clips, times, rows, columns].float(), gain / 255).clamp_(0, 1)
    factors = {name: f + shift[:, None, None] if f.ndim == 4 else f for name, f in batch.factors.items()}
    return x.permute(0, 1, 4, 2, 3), factors
