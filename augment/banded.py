"""Crop, resize and blur along an axis as a banded matrix: a pixel of the view depends on few pixels of the frame."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Rows of a block. Fewer, and neighbouring windows are mostly the same pixels; more, and windows are mostly zeros.
BLOCK = 16


class Band(NamedTuple):
    """Matrices `[B, N, S]` in blocks of rows, of which only a window of columns is stored: all others are zero.

    Attributes:
        weights: `[B, blocks, n, K]`, the windows of K columns. If n does not divide N, the last block has surplus rows.
        starts: int64 `[B, blocks]`, the first column of each window.
    """

    weights: Tensor
    starts: Tensor

    def to(self, x: Tensor) -> "Band":
        """The band on the device of `x`, with weights of its dtype."""
        return Band(self.weights.to(x, non_blocking=True), self.starts.to(x.device, non_blocking=True))

    def of(self, clips: slice) -> "Band":
        """The band of some clips."""
        return Band(self.weights[clips], self.starts[clips])


def window_width(taps: int, size: int, new_size: int, rows: int = BLOCK, stretch: float = 0.0) -> int:
    """The number of pixels of the frame that a block of rows depends on, whatever the crop within the frame.

    Args:
        taps: Width of the blur's kernel.
        size: Pixels of the frame along the axis.
        new_size: Pixels of the view along the axis.
        rows: Rows of the block.
        stretch: The largest relative change of the local scale, as of `crop_and_blur`.

    >>> window_width(7, 224, 224)
    23
    """
    step = (1 + stretch) * (size - 1) / max(new_size - 1, 1)  # of the largest crop, the whole frame
    return min(size, math.ceil((rows + taps - 2) * step) + 2)


def crop_and_blur(
    kernel: Tensor,
    start: Tensor,
    extent: Tensor,
    size: int,
    new_size: int,
    rows: int | None = None,
    waves: Tensor | None = None,
    stretch: float = 0.0,
) -> Band:
    """Bilinear crop and resize, corner pixels aligned, then convolution with reflected borders, along one axis.

    With waves, the crop is stretched unevenly: its edges stay where they are, and at u in [0, 1] of the view the scale
    is multiplied by 1 + sum over k of a_k cos(2 pi k u + phase_k), k = 1, 2, ...

    Args:
        kernel: `[B, taps]`, an odd number of taps; half of them must be fewer than `new_size`.
        start: First position of the crop `[B]`, as a fraction of the distance between the first and the last pixel.
        extent: Length of the crop `[B]`, as the same fraction.
        size: Pixels of the frame along the axis.
        new_size: Pixels of the view along the axis.
        rows: At most so many rows a block; all in one block by default, which is the dense matrix.
        waves: a_k and phase_k of K waves, `[B, K, 2]`.
        stretch: An upper bound of the sum over k of a_k, below 1.

    Returns:
        Matrices of `new_size` rows and `size` columns.
    """
    taps, device = kernel.shape[1], kernel.device
    radius, blocks = taps // 2, math.ceil(new_size / (rows or new_size))
    rows = math.ceil(new_size / blocks)
    width = window_width(taps, size, new_size, rows, stretch)
    # The rows of the crop that a block's blur depends on. Surplus rows repeat the last, and so stay in its window.
    crop_rows = torch.arange(blocks, device=device)[:, None] * rows + torch.arange(
        -radius, rows + radius, device=device
    )
    crop_rows = crop_rows.clamp_max(new_size - 1 + radius).abs()
    crop_rows = new_size - 1 - (new_size - 1 - crop_rows).abs()
    step = extent * ((size - 1) / max(new_size - 1, 1))
    if waves is not None:
        crop_rows = crop_rows + (new_size - 1) * _displacement(crop_rows / max(new_size - 1, 1), waves)
    at = (start[:, None, None] * (size - 1) + crop_rows * step[:, None, None]).clamp(0, size - 1)
    starts = at.detach().amin(2).floor().clamp_max(size - width)
    distance = (at - starts[:, :, None])[..., None] - torch.arange(width, device=device)
    crop = distance.abs().neg().add(1).clamp_min(0)
    # Row i of the blur is the kernel shifted by i: one cyclic shift a row, as rows are one element short of the period.
    shifted = F.pad(kernel, (0, rows)).repeat(1, rows)[:, : rows * (rows + taps - 1)]
    return Band(shifted.view(-1, 1, rows, rows + taps - 1) @ crop, starts.long())


def _displacement(u: Tensor, waves: Tensor) -> Tensor:
    """The integral from 0 to u `[...]` of the waves `[B, K, 2]`: `[B, ...]`, 0 at u = 0 and 1."""
    periods = 2 * math.pi * torch.arange(1, waves.shape[1] + 1, dtype=waves.dtype, device=waves.device)
    amplitude, phase = waves.view(len(waves), -1, *[1] * u.ndim, 2).unbind(-1)
    periods = periods.view(-1, *[1] * u.ndim)
    return (amplitude / periods * ((periods * u + phase).sin() - phase.sin())).sum(1)


def with_colour(columns: Band, colour: Tensor) -> Band:
    """The product of columns and of colours `[B, C, C]`: weights `[B, blocks, K * C, n * C]`, transposed."""
    batch, blocks, rows, width = columns.weights.shape
    channels = colour.shape[1]
    weights = torch.einsum("bgnk,bij->bgkjni", columns.weights, colour)
    return Band(weights.reshape(batch, blocks, width * channels, rows * channels), columns.starts)


def resample(x: Tensor, rows: Band, columns: Band, size: tuple[int, int]) -> Tensor:
    """`rows @ frame @ columns.T`, and the colour of each pixel, of every frame.

    Windows are gathered at indices that are tensors: shapes depend on arguments alone, and a GPU never waits.

    Args:
        x: Clips `[B, T, C, H, W]`.
        rows: Band of H' rows and H columns.
        columns: Band of W' rows and W columns, with colour.
        size: Height H' and width W' of the view.

    Returns:
        `[B, T, C, H', W']`, stored channels last.
    """
    batch, frames, channels, height, width = x.shape
    clip, frame = torch.arange(batch, device=x.device), torch.arange(frames, device=x.device)
    # Rows: the windows of all frames of a clip side by side, so that one product of a block has them all.
    _, blocks, block_rows, window = rows.weights.shape
    pixels = torch.arange(window, device=x.device)[:, None] + frame * height
    indices = (clip * (frames * height)).view(-1, 1, 1, 1) + rows.starts[:, :, None, None] + pixels
    lines = x.permute(0, 1, 3, 4, 2).reshape(-1, width * channels).index_select(0, indices.flatten())
    x = rows.weights.flatten(0, 1) @ lines.view(batch * blocks, window, -1)  # rows of the view x frames x line
    # Columns: windows of neighbouring pixels with their channels, which one product resamples and recolours.
    lines_of_clip, surplus_lines = size[0] * frames, blocks * block_rows * frames
    _, blocks, window, block_columns = columns.weights.shape
    line = (clip * surplus_lines).view(-1, 1, 1) + torch.arange(lines_of_clip, device=x.device)
    indices = line * width + columns.starts[:, :, None]
    runs = x.view(-1).unfold(0, window, channels).index_select(0, indices.flatten())
    x = runs.view(batch * blocks, lines_of_clip, window) @ columns.weights.flatten(0, 1)
    x = x.view(batch, blocks, size[0], frames, block_columns).permute(0, 3, 2, 1, 4)
    x = x.reshape(batch, frames, size[0], -1, channels)[:, :, :, : size[1]]
    return x.permute(0, 1, 4, 2, 3)
