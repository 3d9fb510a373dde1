"""Networks of C-DSVAE: frames to features, features to latents, latents to frames, and the dynamic prior.

A modality is a pair: an encoder `[N, *frame_shape] -> [N, feature_dim]` and a decoder `[N, latent_dim] -> [N,
*frame_shape]` that work frame by frame. `ClipEncoder` and `ClipDecoder` are the pair for video, those of
`speech_networks` that for speech; the recurrent networks see features and latents only.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqviews.model.gaussian import Gaussian

FrameShape = tuple[int, int, int]
"""(C, H, W)."""

MelShape = tuple[int]
"""(n_mels,)."""


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


class GaussianHead(nn.Linear):
    """A linear layer `[..., in] -> Gaussian [..., out]`."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, 2 * out_features)

    def forward(self, hidden: Tensor) -> Gaussian:  # type: ignore[override]
        """The distribution that a hidden state stands for."""
        mean, logvar = super().forward(hidden).chunk(2, dim=-1)
        return Gaussian(mean, logvar)


class StaticPosterior(nn.Module):
    """q(s given x): features `[B, T, F]` to a Gaussian `[B, S]`, from a bi-LSTM's two last states [P C.2]."""

    def __init__(self, feature_dim: int, hidden_dim: int, static_dim: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(feature_dim, hidden_dim, batch_first=True, bidirectional=True)
        self.head = GaussianHead(2 * hidden_dim, static_dim)

    def forward(self, features: Tensor) -> Gaussian:
        """From the forward state after frame T and the backward state after frame 1."""
        _, (last, _) = self.lstm(features)
        return self.head(torch.cat(tuple(last), dim=-1))  # type: ignore[no-any-return]


class DynamicPosterior(nn.Module):
    """q(z_t given x_1..t): features `[B, T, F]` to a Gaussian `[B, T, D]`, from a forward LSTM [P C.2].

    Samples of z are not fed back, as in the paper's section C.2; its equation 2, q(z_t given z_<t, x_1..t), would
    allow it.
    """

    def __init__(self, feature_dim: int, hidden_dim: int, dynamic_dim: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(feature_dim, hidden_dim, batch_first=True)
        self.head = GaussianHead(hidden_dim, dynamic_dim)

    def forward(self, features: Tensor) -> Gaussian:
        """Frame t's distribution depends on the features up to frame t."""
        return self.head(self.lstm(features)[0])  # type: ignore[no-any-return]


class DynamicPrior(nn.Module):
    """p(z_t given z_<t), z_0 = 0: a learned prior over trajectories, by an LSTM [P 2.1, C.2]."""

    def __init__(self, hidden_dim: int, dynamic_dim: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dynamic_dim, hidden_dim, batch_first=True)
        self.head = GaussianHead(hidden_dim, dynamic_dim)

    def forward(self, z: Tensor) -> Gaussian:
        """The distribution `[B, T, D]` of each z_t given the trajectory `[B, T, D]` before it.

        The prefix is known, so one call of the LSTM on the trajectory shifted by a step does all of time.
        """
        before = functional.pad(z[:, :-1], (0, 0, 1, 0))
        return self.head(self.lstm(before)[0])  # type: ignore[no-any-return]

    def sample(self, n: int, length: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw n trajectories `[n, length, D]`, each step from the distribution given the steps before it."""
        z = self.head.weight.new_zeros(n, 1, self.lstm.input_size)
        state: tuple[Tensor, Tensor] | None = None
        steps = []
        for _ in range(length):
            hidden, state = self.lstm(z, state)
            z = self.head(hidden).rsample(generator)
            steps.append(z)
        return torch.cat(steps, dim=1)
