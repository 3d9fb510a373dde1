"""A decoder of clips that draws images from s, once a clip, and deforms and mixes them as z says."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqviews.model.layers.clips import FrameShape, stage_channels
from seqviews.model.padding import join_frames, split_frames

IMAGES = 3
REACH = 0.2  # of what a layer of z puts out, in halves of a frame: displacements start small


class WarpedDecoder(nn.Module):
    """Static latents `[B, S]` and dynamic latents `[B, T, D]` to clips `[B, T, C, H, H]` in [0, 1].

    A clip has three images, decoded from s. Frame t deforms them by a smooth field of displacements, adds them up, the
    second and third weighted at each pixel, and maps the sigmoid of the sum by an affine map; field, weights and map
    are decoded from z_t. The same z thus moves the brows of any face, and the
    networks of s run once a clip, not once a frame.

    Args:
        frame_shape: (C, H, H); H is 16, 32, 64 or 128.
        static_dim: S.
        dynamic_dim: D.
        width: Scales the channels of the convolutions; those of s are twice as wide as those of z.

    Raises:
        ValueError: As `stage_channels`.
    """

    def __init__(self, frame_shape: FrameShape, static_dim: int, dynamic_dim: int, width: float = 1.0) -> None:
        super().__init__()
        self.channels, self.side, _ = frame_shape
        of_s, of_z = (stage_channels(frame_shape, wide)[::-1] for wide in (2 * width, width))
        self.images = nn.Sequential(
            *_maps(static_dim, of_s), nn.ConvTranspose2d(of_s[-1], IMAGES * self.channels, 4, 2, 1)
        )
        self.motion = _maps(dynamic_dim, of_z[:-1])
        self.weights = nn.ConvTranspose2d(of_z[-2], IMAGES - 1, 4, 2, 1)
        self.field, self.affine = nn.Conv2d(of_z[-2], 2, 3, 1, 1), nn.Linear(dynamic_dim, 6)
        for parameter in (*self.field.parameters(), *self.affine.parameters()):
            nn.init.zeros_(parameter)
        self.identity: Tensor
        self.register_buffer(
            "identity", torch.eye(2, 3), persistent=False
        )  # as a constant it would be copied each step
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, s: Tensor, z: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Clips of latents; what is beyond the lengths, int64 `[B]`, is arbitrary and does not affect the others.

        The networks run under autocast, the deformation does not: bfloat16 is too coarse for positions.
        """
        steps = join_frames(z, lengths)
        images, maps = self.images(s), self.motion(steps)
        field, weights = self.field(maps), self.weights(maps)
        with torch.autocast(z.device.type, enabled=False):
            images, field, weights = (x.to(z.dtype).contiguous() for x in (images, field, weights))
            field, weights, affine = (
                split_frames(x, z.shape[:2], lengths)
                for x in (self._enlarge(REACH * field), self._enlarge(weights), REACH * self.affine(steps))
            )
            deformed = self._deform(images, field)
            frames = deformed[:, :, 0] + (weights[:, :, :, None] * deformed[:, :, 1:]).sum(2)
            frames = torch.sigmoid(frames).flatten(0, 1)
            grid = functional.affine_grid(
                self.identity + affine.view(-1, 2, 3), list(frames.shape), align_corners=False
            )
            return _sample(frames, grid).view(*z.shape[:2], self.channels, self.side, self.side)

    def _deform(self, images: Tensor, field: Tensor) -> Tensor:
        """Images `[B, K C, H, H]` at each pixel plus displacements `[B, T, 2, H, H]`: `[B, T, K, C, H, H]`."""
        (count, frames), side = field.shape[:2], self.side
        grid = functional.affine_grid(self.identity[None], [1, 1, side, side], align_corners=False)
        grid = (grid + field.movedim(2, 4)).view(count, frames * side, side, 2)  # frames below each other
        return _sample(images, grid).view(count, IMAGES, self.channels, frames, side, side).movedim(3, 1)

    def _enlarge(self, maps: Tensor) -> Tensor:
        return functional.interpolate(maps, size=(self.side, self.side), mode="bilinear", align_corners=False)


def _maps(latent_dim: int, channels: list[int]) -> nn.Sequential:
    """Latents `[N, D]` to maps of channels[0] at 4 x 4 pixels, each further number of channels at twice the size."""
    layers: list[nn.Module] = [nn.Linear(latent_dim, 16 * channels[0], bias=False), nn.Unflatten(1, (-1, 4, 4))]
    layers += _norm_relu(channels[0])
    for before, after in pairwise(channels):
        layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), *_norm_relu(after)]
    return nn.Sequential(*layers)


def _norm_relu(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


def _sample(images: Tensor, grid: Tensor) -> Tensor:
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
