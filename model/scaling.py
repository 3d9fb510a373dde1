"""Scale stored values to what a method takes, and back: pixels to [0, 1], mels to mean 0 and deviation 1."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from seqviews.pipeline.features import Features, MelFeatures

CONSTANT = 1e-4  # nats; a deviation below it is the rounding of a mel that never changes


class Scale(nn.Module):
    """How the records of a data set, which are of one modality, are scaled."""

    modality: ClassVar[Literal["clip", "segment"]]

    def inverse(self, x: Tensor) -> Tensor:
        """Stored values, float32, of what a method decodes."""
        raise NotImplementedError


class PixelScale(Scale):
    """Pixels, uint8 from 0 to 255, as float32 in [0, 1]."""

    modality = "clip"

    def forward(self, x: Tensor) -> Tensor:
        """Scales clips of any shape."""
        return x / 255

    def inverse(self, x: Tensor) -> Tensor:
        """Pixels from 0 to 255, float32, not rounded."""
        return x * 255


class MelScale(Scale):
    """Log-mels with mean 0 and deviation 1 of each mel over the training split; a checkpoint keeps both.

    A mel that never changes there, deviation 0 but for rounding, is shifted only.

    Example:
        >>> scale = MelScale(MelFeatures(mean=(-6.0, -8.0), std=(2.0, 0.0)))
        >>> scale(torch.tensor([[-4.0, -8.0]], dtype=torch.float16)), scale.inverse(torch.tensor([[1.0, 0.5]]))
        (tensor([[1., 0.]]), tensor([[-4.0000, -7.5000]]))
    """

    modality = "segment"
    mean: Tensor
    deviation: Tensor

    def __init__(self, mel: MelFeatures) -> None:
        super().__init__()
        deviation = torch.tensor(mel.std)
        self.register_buffer("mean", torch.tensor(mel.mean))
        self.register_buffer("deviation", deviation.where(deviation > CONSTANT, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Scales segments `[..., n_mels]`, also those of other voices, to float32."""
        return (x.to(torch.float32) - self.mean) / self.deviation

    def inverse(self, x: Tensor) -> Tensor:
        """Log-mels `[..., n_mels]`."""
        return x * self.deviation + self.mean


def scale_of(features: Features) -> Scale:
    """The scale of a data set's records."""
    return PixelScale() if features.mel is None else MelScale(features.mel)


def scale_from_state(state: Mapping[str, Tensor]) -> Scale:
    """The scale whose state a checkpoint keeps; that of pixels has none."""
    if not state:
        return PixelScale()
    return MelScale(MelFeatures(tuple(state["mean"].tolist()), tuple(state["deviation"].tolist())))
