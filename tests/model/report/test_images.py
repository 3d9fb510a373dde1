from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from seqviews.model.report.images import (
    GAP,
    LINE,
    MARGIN,
    NARROWEST,
    RATE,
    SEAM,
    WIDE_GAP,
    Cell,
    Frames,
    Grid,
    Image,
    film_strip,
    png,
    to_frames,
)

RNG = np.random.default_rng(0)


def noise(length: int, height: int = 40, width: int = 32) -> Frames:
    return RNG.integers(0, 256, (length, height, width, 3), dtype=np.uint8)


def enlarged(image: Image, times: int) -> Image:
    height, width = len(image) * times, image.shape[1] * times
    return np.array([[image[y // times, x // times] for x in range(width)] for y in range(height)])


def test_a_strip_shows_frames_from_the_first_to_the_last_enlarged() -> None:
    clip = torch.rand(9, 3, 20, 12, generator=torch.Generator().manual_seed(0))
    strip = film_strip(to_frames(clip), count=3)
    assert strip.shape == (60, 3 * 36 + 2 * SEAM, 3)
    for place, t in enumerate((0, 4, 8)):
        for y, x in ((0, 0), (31, 17), (59, 35)):
            expected = [round(float(clip[t, c, y // 3, x // 3]) * 255) for c in range(3)]
            assert strip[y, place * (36 + SEAM) + x].tolist() == expected
    assert (strip[:, 36 : 36 + SEAM] == 255).all()


def test_a_strip_of_a_short_grey_clip_shows_all_of_it() -> None:
    strip = film_strip(to_frames(torch.full((2, 1, 64, 64), 0.2)))
    assert strip.shape == (64, 128 + SEAM, 3)
    assert (strip[:, :64] == 51).all()


@pytest.mark.parametrize("rate", [None, 25.0])
def test_every_cell_is_pixel_for_pixel_in_its_place_still_and_moving(rate: float | None) -> None:
    clips = [[None, noise(5), noise(3)], [noise(5), noise(1), noise(5)], [noise(5)]]
    grid = Grid([[None if clip is None else Cell(clip) for clip in row] for row in clips], {2}, {1}, rate=rate)

    def expected(height: int, width: int, t: int | None) -> Image:
        lefts = [MARGIN, MARGIN + width + WIDE_GAP, MARGIN + 2 * width + WIDE_GAP + GAP]
        tops = [MARGIN // 2 + r * (height + GAP) + (WIDE_GAP if r == 2 else 0) for r in range(3)]
        canvas = np.full((tops[2] + height + MARGIN, lefts[2] + width + MARGIN, 3), 255, np.uint8)
        for top, row in zip(tops, clips, strict=True):
            for left, clip in zip(lefts, row, strict=False):
                if clip is not None:
                    image = film_strip(clip) if t is None else enlarged(clip[min(t, len(clip) - 1)], 3)
                    canvas[top : top + height, left : left + image.shape[1]] = image
        return canvas

    assert np.array_equal(grid.still(), expected(40, 5 * 32 + 4 * SEAM, None))
    moving = Pillow.open(io.BytesIO(grid.moving() or b""))
    assert (moving.n_frames, moving.info["loop"]) == (5, 0)  # 0: forever
    for t in range(5):
        moving.seek(t)
        assert moving.info["duration"] == 1000 / (rate or RATE)
        assert np.array_equal(np.asarray(moving.convert("RGB")), expected(120, 96, t))


def test_stills_do_not_move() -> None:
    assert Grid([[Cell(noise(1)), None]]).moving() is None


def test_captions_are_above_their_cells_and_change_no_other_pixel() -> None:
    cells = [Cell(noise(1)) for _ in range(3)]
    long = "a caption that does not fit one line, as its image is narrow, and so is the place it has"
    texts = [[long, "short"], ["last"]]
    rows = [[Cell(cells[2 * r + c].frames, text) for c, text in enumerate(row)] for r, row in enumerate(texts)]
    image = Grid(rows, {1}, {1}).still()
    left = MARGIN + NARROWEST + WIDE_GAP
    top = len(image) - MARGIN - 2 * 40 - GAP - WIDE_GAP - LINE
    room = top - MARGIN // 2
    assert room >= 2 * LINE
    assert room % LINE == 0
    dark = image.min(-1) < 200
    assert dark[MARGIN // 2 : MARGIN // 2 + LINE, MARGIN : left - WIDE_GAP].any()  # the first of several lines
    assert not dark[: top - LINE, left:].any()  # a single line is just above its image
    assert dark[top - LINE : top, left:].any()
    lower = top + 40 + GAP + WIDE_GAP + LINE
    blank = np.full_like(image[top:], 255)
    for y, x, cell in ((0, MARGIN, cells[0]), (0, left, cells[1]), (lower - top, MARGIN, cells[2])):
        blank[y : y + 40, x : x + 32] = cell.frames[0]
    above = slice(lower - LINE - GAP, lower)  # letters may reach into the gap
    blank[above.start - top : above.stop - top] = image[above]
    assert np.array_equal(image[top:], blank)
    assert dark[lower - LINE : lower, MARGIN:left].any()


def test_a_legend_has_room_up_to_the_next_one_and_is_inside_an_empty_place() -> None:
    cells = [Cell(noise(1)) for _ in range(9)]
    legends = {(0, 0): "inside", (0, 1): "a legend over many columns", (0, 8): "end"}
    image = Grid([[None, *cells[1:]]], legends=legends).still()
    assert len(image) == MARGIN // 2 + LINE + 40 + MARGIN  # a single line
    dark = image.min(-1) < 200
    assert dark[-MARGIN - 40 : -MARGIN, : MARGIN + 32].any()
    assert not dark[: MARGIN // 2 + LINE, : MARGIN + 32].any()


def test_dollars_are_no_formulas() -> None:
    def drawn(text: str) -> Image:
        return Grid([[Cell(noise(1) * 0, text)]]).still()

    assert (drawn("a$b$") != drawn("ab")).any()
    drawn("$\\unknown{$ 5$")


def test_a_png_is_lossless() -> None:
    image = noise(1)[0]
    assert np.array_equal(np.asarray(Pillow.open(io.BytesIO(png(image)))), image)
