"""Convolutional networks for frames of video: pixels to features, latents to pixels.

A modality is a pair: an encoder `[N, *frame_shape] -> [N, feature_dim]` and a decoder `[N, latent_dim] -> [N,
*frame_shape]` that work frame by frame. `layers.segments` has the pair for speech.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

FrameShape = tuple[int, int, int]  # (C, H, W)


def stage_channels(frame_shape: FrameShape, width: float) -> list[int]:
    """Channels of the stages that halve a frame down to 4 x 4: 64 128 256 512 for 64 pixels [P C.2].

    Smaller frames have fewer stages, frames of 128 pixels a second one of 512 channels.

    Raises:
        ValueError: If the frame is not square, its side not 16, 32, 64 or 128, or the width not positive.
    """
    _, height, side = frame_shape
    if height != side or side not in (16, 32, 64, 128):
        raise ValueError(f"frames are {height} x {side} pixels; the model takes 16, 32, 64 or 128 squared: resize them")
    if width <= 0:
        raise ValueError(f"width is {width}; it scales the channels and must be positive")
    stages = side.bit_length() - 3
    return [scaled(min(64 * 2**stage, 512), width) for stage in range(stages)]


def scaled(channels: int, width: float) -> int:
    """Channels times width, in steps of 8 (the vector length of CPUs, half of that of tensor cores), at least 8."""
    return max(8, round(channels * width / 8) * 8)


class ClipEncoder(nn.Module):
    """Frames `[N, C, H, W]` in [0, 1] to features `[N, feature_dim]` in (-1, 1) [P C.2].

    4 x 4 convolutions of stride 2 down to 4 x 4 pixels, each with batch norm and LeakyReLU(0.2), then one that covers
    the 4 x 4 pixels, written as the linear layer that it is (faster on CPUs), with batch norm and tanh. No bias: the
    batch norm has one.
    """

    def __init__(self, frame_shape: FrameShape, feature_dim: int, width: float = 1.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = frame_shape[0]
        for channels in stage_channels(frame_shape, width):
            layers += [nn.Conv2d(before, channels, 4, 2, 1, bias=False), nn.BatchNorm2d(channels)]
            layers += [nn.LeakyReLU(0.2, inplace=True)]
            before = channels
        layers += [nn.Flatten(), nn.Linear(16 * before, feature_dim, bias=False)]
        layers += [nn.BatchNorm1d(feature_dim), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, frames: Tensor) -> Tensor:
        """Features of frames; frames stored channels last are not copied."""
        return self.layers(frames.contiguous(memory_format=torch.channels_last))  # type: ignore[no-any-return]


class ClipDecoder(nn.Module):
    """Latents `[N, latent_dim]` to frames `[N, C, H, W]` in [0, 1] [P C.2].

    Hidden channels 512 256 128 128 64, each with batch norm and ReLU. The paper does not say where it upsamples. Here,
    for 64 pixels: 512 at 4 x 4, 256 at 8 x 8, 128 at 16 x 16, a 3 x 3 convolution of stride 1 (the second 128), 64 at
    32 x 32, and the frame at 64 x 64 with a sigmoid; each doubling is a transposed 4 x 4 convolution of stride 2.
    """

    def __init__(self, frame_shape: FrameShape, latent_dim: int, width: float = 1.0) -> None:
        super().__init__()
        stages = stage_channels(frame_shape, width)
        self.first = stages[-1]
        self.project = nn.Linear(latent_dim, 16 * self.first, bias=False)
        layers: list[nn.Module] = _norm_relu(self.first)
        for before, channels in pairwise(reversed(stages[1:])):
            layers += [nn.ConvTranspose2d(before, channels, 4, 2, 1, bias=False), *_norm_relu(channels)]
        layers += [nn.Conv2d(stages[1], stages[1], 3, 1, 1, bias=False), *_norm_relu(stages[1])]
        layers += [nn.ConvTranspose2d(stages[1], stages[0], 4, 2, 1, bias=False), *_norm_relu(stages[0])]
        layers += [nn.ConvTranspose2d(stages[0], frame_shape[0], 4, 2, 1)]
        self.layers = nn.Sequential(*layers)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, latents: Tensor) -> Tensor:
        """Frames of latents, in the dtype of the latents whatever the autocast."""
        maps = self.project(latents).unflatten(1, (4, 4, self.first)).permute(0, 3, 1, 2)
        return torch.sigmoid(self.layers(maps).to(latents.dtype))


def _norm_relu(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
