from __future__ import annotations

import numpy as np
import pytest
import torch
from moving_squares import MovingSquares
from numpy.typing import NDArray
from square_models import PerfectModel
from torch import Tensor

from seqviews.model.report import grids as generation
from seqviews.model.report.grids import (
    BETWEEN,
    DRAWN,
    exchange_grid,
    generation_grid,
    interpolation_grid,
    reconstruction_grid,
)
from seqviews.model.report.images import Image, captioned, film_strip

Cells = list[list[tuple[Image, str]]]


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> Cells:
    """What a grid is made of: rows of film strips and captions."""
    seen: Cells = []

    def spy(rows: Cells, **kwargs: range) -> Image:
        seen[:] = rows
        return captioned(rows, **kwargs)

    monkeypatch.setattr(generation, "captioned", spy)
    return seen


def squares(count: int) -> Tensor:
    rng = np.random.default_rng(0)
    frames = [clip.frames for i in range(count) for clip in MovingSquares().records(str(i), rng)]
    return torch.from_numpy(np.stack(frames)).permute(0, 1, 4, 2, 3) / 255


def latents(real: Tensor) -> tuple[Tensor, Tensor]:
    posterior = PerfectModel().encode(real)
    return posterior.static.mean, posterior.dynamic.mean


def mask(strip: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where the square is: what is lit, without the seams, which are white."""
    return (strip > 0) & (strip < 255)


def shade(strip: NDArray[np.uint8]) -> int:
    return int(strip[mask(strip)].max())


def test_a_perfect_reconstruction_is_below_its_clip(cells: Cells) -> None:
    real = squares(3)
    image = reconstruction_grid(PerfectModel(), *latents(real), real, torch.tensor([7.25, 8.0, 9.0]))
    assert [len(row) for row in cells] == [2, 2, 1, 1]
    for above, below in ((0, 1), (2, 3)):
        for (clip, _), (decoded, _) in zip(cells[above], cells[below], strict=True):
            assert np.array_equal(clip, decoded)
    assert np.array_equal(cells[2][0][0], film_strip(real[2]))
    assert cells[1][0][1].startswith("reconstruction, 7.2 dB")
    assert image.dtype == np.uint8


def test_exchanged_motions_keep_their_shades(cells: Cells) -> None:
    real = squares(5)
    exchange_grid(PerfectModel(), *latents(real), real)
    assert len(cells) == 4
    for reals, exchanged in (cells[:2], cells[2:]):
        strips, made = [strip for strip, _ in reals], [strip for strip, _ in exchanged]
        assert [shade(strip) for strip in made] == [shade(strip) for strip in strips]
        assert np.array_equal(mask(made[0]), mask(strips[1]))
        assert np.array_equal(mask(made[1]), mask(strips[0]))


def test_what_is_not_drawn_stays_and_what_is_drawn_varies(cells: Cells) -> None:
    real = squares(1)
    s, z = latents(real)
    first = generation_grid(PerfectModel(), s[0], z[0], real[0], torch.Generator().manual_seed(0))
    assert len(cells) == 1 + DRAWN
    (clip, _), _ = cells[0]
    left, right = ([row[side][0] for row in cells[1:]] for side in (0, 1))
    assert all(np.array_equal(mask(strip), mask(clip)) for strip in left)
    assert all(shade(strip) == shade(clip) for strip in right)
    assert len({shade(strip) for strip in left}) > 1
    assert len({mask(strip).tobytes() for strip in right}) > 1
    again, other = (
        generation_grid(PerfectModel(), s[0], z[0], real[0], torch.Generator().manual_seed(seed)) for seed in (0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_shades_change_in_equal_steps_along_the_line(cells: Cells) -> None:
    real = squares(4)
    s, z = latents(real)
    s = torch.tensor([[0.2], [0.8], [0.9], [0.1]])
    interpolation_grid(PerfectModel(), s, z)
    assert len(cells) == BETWEEN + 2
    for column, (start, end) in enumerate([(0.2, 0.8), (0.9, 0.1)]):
        strips = [row[column][0] for row in cells]
        expected = np.linspace(start, end, BETWEEN + 2) * 255
        assert [shade(strip) for strip in strips] == pytest.approx(expected, abs=0.51)
        assert all(np.array_equal(mask(strip), mask(film_strip(real[2 * column]))) for strip in strips)
