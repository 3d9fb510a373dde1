"""Networks that tell real from generated: latents, images and clips."""

import torch
from torch import Tensor, nn

from seqviews.model.layers.clips import FrameShape, stage_channels

HIDDEN = 256


class LatentDiscriminator(nn.Module):
    """Latents `[N, D]` to a logit of being from the prior, `[N]`, through two hidden layers of 256 units."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        first, second, last = nn.Linear(dim, HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 1)
        self.layers = nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), last)

    def forward(self, latents: Tensor) -> Tensor:
        """The logits."""
        return self.layers(latents)[:, 0]  # type: ignore[no-any-return]


class ImageDiscriminator(nn.Module):
    """Frames `[N, C, H, W]` to logits of being real, one a patch: `[N, 4, 4]`.

    4 x 4 convolutions of stride 2 down to 4 x 4 pixels, each with LeakyReLU(0.2), and a 3 x 3 convolution. Without
    batch norm: with it, batches of real and of generated frames are told apart by their statistics, and a penalty of
    the gradient of one frame would depend on the others.
    """

    def __init__(self, frame_shape: FrameShape, width: float = 1.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = frame_shape[0]
        for channels in stage_channels(frame_shape, width):
            layers += [nn.Conv2d(before, channels, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
            before = channels
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, 1, 3, 1, 1))

    def forward(self, frames: Tensor) -> Tensor:
        """The logits, in the dtype of the frames whatever the autocast."""
        return self.layers(frames).to(frames.dtype)[:, 0]  # type: ignore[no-any-return]


class VideoDiscriminator(nn.Module):
    """Clips `[N, T, C, H, W]` to logits of being real, one a frame, `[N, T]`, and of their category, `[N, K]`.

    As `ImageDiscriminator`, with convolutions of 3 frames x 4 x 4 pixels, and a last one that covers the 4 x 4 pixels.
    """

    def __init__(self, frame_shape: FrameShape, categories: int = 0, width: float = 1.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = frame_shape[0]
        for channels in stage_channels(frame_shape, width):
            layers += [nn.Conv3d(before, channels, (3, 4, 4), (1, 2, 2), 1), nn.LeakyReLU(0.2, inplace=True)]
            before = channels
        self.layers = nn.Sequential(*layers, nn.Conv3d(before, 1 + categories, (1, 4, 4)))

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """The logits, in the dtype of the clips whatever the autocast.

        On CPUs there is none: the bfloat16 gradient of some convolutions over time is infinite there (torch 2.13).
        """
        kind = clips.device.type
        with torch.autocast(kind, enabled=kind != "cpu" and torch.is_autocast_enabled(kind)):
            maps: Tensor = self.layers(clips.transpose(1, 2)).to(clips.dtype)
        real, category = maps[..., 0, 0].split([1, maps.shape[1] - 1], dim=1)  # type: ignore[no-untyped-call]
        return real[:, 0], category.mean(2)
