"""Scale stored values to what a model takes, and back: pixels to [0, 1], mels to mean 0 and deviation 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqviews.pipeline.manifest import Features, MelFeatures

CONSTANT = 1e-4  # nats; a deviation below it is the rounding of a mel that never changes


class PixelScale(nn.Module):
    """Pixels, uint8 from 0 to 255, as float32 in [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """Clips of any shape."""
        return x / 255


class MelScale(nn.Module):
    """Log-mels with mean 0 and deviation 1 of each mel over the training split.

    A mel that never changes there, deviation 0 but for rounding, is moved and not stretched.

    Args:
        mel: Mean and deviation of each mel; a checkpoint of a training keeps them.

    Example:
        >>> scale = MelScale(MelFeatures(mean=(-6.0, -8.0), std=(2.0, 0.0)))
        >>> scale(torch.tensor([[-4.0, -8.0]], dtype=torch.float16)), scale.inverse(torch.tensor([[1.0, 0.5]]))
        (tensor([[1., 0.]]), tensor([[-4.0000, -7.5000]]))
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mel: MelFeatures) -> None:
        super().__init__()
        deviation = torch.tensor(mel.std)
        self.register_buffer("mean", torch.tensor(mel.mean))
        self.register_buffer("deviation", deviation.where(deviation > CONSTANT, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Segments `[..., n_mels]`, also those of other voices, as float32."""
        return (x.to(torch.float32) - self.mean) / self.deviation

    def inverse(self, x: Tensor) -> Tensor:
        """Log-mels `[..., n_mels]` of what a model decodes."""
        return x * self.deviation + self.mean


def scale_of(features: Features) -> PixelScale | MelScale:
    """The scale of a data set's records."""
    return PixelScale() if features.mel is None else MelScale(features.mel)
