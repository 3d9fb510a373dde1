"""Optical flow of the cells of a grid: which parts of a frame move, and in which of eight directions."""

import math

import torch
from torch import Tensor
from torch.nn import functional

GRID, DIRECTIONS = 3, 8
STEP = 1 / 128  # of the frame's side: half a pixel of 64
BLUR = 1 / 32  # likewise, the deviation of the blur
NOISE = 1e-5  # squared gradients a pixel below which a cell has nothing to follow


@torch.no_grad()
def cell_flow(clips: Tensor, grid: int = GRID) -> Tensor:
    """The flow from each frame to the next, one vector a cell, by least squares (Lucas and Kanade, 1981).

    Frames are turned to grey and blurred. In a cell, the flow (u, v) minimises the sum over its pixels of
    `(I_x u + I_y v + I_t)^2`, with the gradients I_x and I_y of the mean of both frames and I_t their difference. It is
    exact for small steps; larger ones come out shorter, in their direction.

    Args:
        clips: `[B, T, C, H, W]` in [0, 1].
        grid: Cells in a row and in a column.

    Returns:
        `[B, T - 1, grid * grid, 2]`, pixels to the right and down a frame, float64 of float64 and else float32; cells
        row by row. 0 in a cell without texture.
    """
    grey = _blurred(clips.to(torch.promote_types(clips.dtype, torch.float32)).mean(2))
    before, after = grey[:, :-1], grey[:, 1:]
    down, right = torch.gradient((before + after) / 2, dim=(-2, -1))
    change = after - before
    products = torch.stack([right * right, right * down, down * down, right * change, down * change], dim=2)
    pooled: Tensor = functional.adaptive_avg_pool2d(products.flatten(0, 2), grid)
    means = pooled.view(*products.shape[:3], -1)
    xx, xy, yy, xt, yt = means.unbind(2)
    xx, yy = xx + NOISE, yy + NOISE
    determinant = xx * yy - xy * xy
    flow: Tensor = torch.stack([xy * yt - yy * xt, xy * xt - xx * yt], dim=-1) / determinant[..., None]
    return flow


def moving_cells(clips: Tensor, grid: int = GRID) -> tuple[Tensor, Tensor]:
    """Which cells move from a frame to the next, and where to, by `cell_flow`.

    Args:
        clips: `[B, T, C, H, W]` in [0, 1].
        grid: Cells in a row and in a column.

    Returns:
        Whether a cell moves by more than half a pixel of a frame of 64 pixels, bool `[B, T - 1, grid * grid]`; and the
        nearest of eight directions, int64, shaped alike: 0 right, 2 down, 4 left, 6 up, odd ones between.
    """
    flow = cell_flow(clips, grid)
    angle = torch.atan2(flow[..., 1], flow[..., 0])
    direction = (angle * (DIRECTIONS / (2 * math.pi))).round().long() % DIRECTIONS
    return torch.linalg.vector_norm(flow, dim=-1) > STEP * clips.shape[-1], direction


def _blurred(frames: Tensor) -> Tensor:
    """Frames `[B, T, H, W]`, blurred by a Gaussian; beyond the edge is what is at the edge."""
    deviation = max(1.0, BLUR * frames.shape[-1])
    radius = math.ceil(2 * deviation)
    places = torch.arange(-radius, radius + 1, dtype=frames.dtype, device=frames.device)
    weights = torch.softmax(-(places / deviation).square() / 2, dim=0)
    flat = functional.pad(frames.flatten(0, 1)[:, None], (radius,) * 4, mode="replicate")
    rows = functional.conv2d(flat, weights.view(1, 1, 1, -1))
    return functional.conv2d(rows, weights.view(1, 1, -1, 1)).view(frames.shape)
