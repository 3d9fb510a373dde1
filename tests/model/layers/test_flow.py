"""Cells and directions of squares that move by known steps."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]
from torch import Tensor

from seqviews.model.layers.flow import NOISE, cell_flow, moving_cells

STEPS = [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)]  # right, then clockwise: down is 1


def moving_square(cell: tuple[int, int], step: tuple[int, int], side: int, frames: int = 3) -> Tensor:
    """A square of a sixth of the side in the middle of a cell of a 3 x 3 grid, given as row and column."""
    clip, size = torch.full((1, frames, 3, side, side), 0.2), side // 6
    for t in range(frames):
        shift = t - frames // 2
        top = (2 * cell[0] + 1) * side // 6 - size // 2 + shift * step[1]
        left = (2 * cell[1] + 1) * side // 6 - size // 2 + shift * step[0]
        clip[0, t, :, top : top + size, left : left + size] = torch.tensor([0.9, 0.5, 0.7])[:, None, None]
    return clip


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("direction", range(8))
def test_the_cell_of_a_square_moves_and_its_direction_is_that_of_the_step(side: int, direction: int) -> None:
    for factor in (1, 2):
        for cell in ((0, 0), (1, 1), (2, 1)):
            x, y = STEPS[direction]
            moves, towards = moving_cells(moving_square(cell, (factor * x, factor * y), side))
            assert moves.shape == towards.shape == (1, 2, 9)
            number = 3 * cell[0] + cell[1]
            assert moves[0, :, number].all()
            assert (towards[0, :, number] == direction).all()
            far = [i for i in range(9) if abs(i // 3 - cell[0]) > 1 or abs(i % 3 - cell[1]) > 1]
            assert not moves[0, :, far].any()


def test_what_stands_still_or_changes_evenly_does_not_move() -> None:
    still = moving_square((1, 1), (0, 0), 64)
    assert not moving_cells(still)[0].any()
    brighter = torch.linspace(0, 1, 4)[None, :, None, None, None].expand(1, 4, 3, 64, 64)
    assert not moving_cells(brighter)[0].any()  # there is no texture to follow


def naive_flow(before: NDArray[np.float64], after: NDArray[np.float64]) -> list[list[float]]:
    """Of each cell of two grey frames, row by row, by another library's blur and solver."""
    side = len(before)
    deviation = max(1.0, side / 32)
    radius = math.ceil(2 * deviation)
    before, after = (gaussian_filter(x, deviation, mode="nearest", radius=radius) for x in (before, after))
    slopes_down, slopes_right = (np.gradient((before + after) / 2, axis=axis) for axis in (0, 1))
    flows = []
    for row in range(3):
        for column in range(3):
            rows, columns = (slice(i * side // 3, -(-(i + 1) * side // 3)) for i in (row, column))
            slopes = np.stack([of[rows, columns].ravel() for of in (slopes_right, slopes_down)], axis=1)
            ridge = math.sqrt(NOISE * len(slopes)) * np.eye(2)
            change = np.append((after - before)[rows, columns].ravel(), [0, 0])
            flows.append(np.linalg.lstsq(np.concatenate([slopes, ridge]), -change)[0].tolist())
    return flows


@pytest.mark.parametrize("side", [32, 64])
def test_the_flow_is_the_least_squares_solution_of_a_loop_over_cells(side: int) -> None:
    clip = torch.rand(2, 3, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = cell_flow(clip)
    assert found.shape == (2, 2, 9, 2)
    for i, t in ((0, 0), (1, 1)):
        grey = clip[i].mean(1).numpy()
        expected = naive_flow(grey[t], grey[t + 1])
        torch.testing.assert_close(found[i, t], torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12)


def test_the_flow_of_a_smooth_pattern_is_the_step_that_it_moves_by() -> None:
    """In the cell that is not at the edge, of a fraction of a pixel."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")

    def frame(dx: float, dy: float) -> Tensor:
        return 0.5 + 0.2 * torch.sin((x - dx) / 7) + 0.2 * torch.cos((y - dy) / 9 + (x - dx) / 15)

    clip = torch.stack([frame(0, 0), frame(0.4, -0.3)])[None, :, None]
    assert cell_flow(clip)[0, 0, 4].tolist() == pytest.approx([0.4, -0.3], abs=0.03)
