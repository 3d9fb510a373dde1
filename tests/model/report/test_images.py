import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from seqviews.model.report import images
from seqviews.model.report.images import GAP, LINE, MARGIN, SEAM, WIDE_GAP, Cell, Grid, Image, film_strip, to_frames

RNG = np.random.default_rng(0)
START = MARGIN // 2  # of the first row without texts


def noise(length: int) -> images.Frames:
    return RNG.integers(0, 256, (length, 40, 32, 3), dtype=np.uint8)


def greys(length: int) -> images.Frames:
    """Frames of one grey each: lossy compression leaves them nearly as they are."""
    return np.broadcast_to(RNG.integers(0, 256, (length, 1, 1, 1), dtype=np.uint8), (length, 40, 32, 3)).copy()


def test_a_strip_shows_frames_from_the_first_to_the_last_enlarged() -> None:
    clip = torch.rand(9, 3, 20, 12, generator=torch.Generator().manual_seed(0))
    strip = film_strip(to_frames(clip), count=3)
    assert strip.shape == (60, 3 * 36 + 2 * SEAM, 3)
    for place, t in enumerate((0, 4, 8)):
        for y, x in ((0, 0), (31, 17), (59, 35)):
            expected = [round(float(clip[t, c, y // 3, x // 3]) * 255) for c in range(3)]
            assert strip[y, place * (36 + SEAM) + x].tolist() == expected
    assert (strip[:, 36 : 36 + SEAM] == 255).all()
    short_grey = film_strip(to_frames(torch.full((2, 1, 64, 64), 0.2)))
    assert short_grey.shape == (64, 128 + SEAM, 3)
    assert (short_grey[:, :64] == 51).all()


@pytest.mark.parametrize(("rate", "frames"), [(None, noise), (25.0, greys), (None, greys)])
def test_every_cell_is_in_its_place_still_and_moving(
    rate: float | None, frames: Callable[[int], images.Frames]
) -> None:
    clips: list[list[images.Frames | None]] = [
        [None, frames(5), frames(3)],
        [frames(5), frames(1), frames(5)],
        [frames(5)],
    ]
    grid = Grid([[None if clip is None else Cell(clip) for clip in row] for row in clips], {2}, {1}, rate=rate)

    def expected(height: int, width: int, t: int | None) -> Image:
        lefts = [MARGIN, MARGIN + width + WIDE_GAP, MARGIN + 2 * width + WIDE_GAP + GAP]
        tops = [START + r * (height + GAP) + (WIDE_GAP if r == 2 else 0) for r in range(3)]
        canvas = np.full((tops[2] + height + MARGIN, lefts[2] + width + MARGIN, 3), 255, np.uint8)
        for top, row in zip(tops, clips, strict=True):
            for left, clip in zip(lefts, row, strict=False):
                if clip is not None:
                    large = np.ones((3, 3, 1), np.uint8)
                    image = film_strip(clip) if t is None else np.kron(clip[min(t, len(clip) - 1)], large)
                    canvas[top : top + height, left : left + image.shape[1]] = image
        return canvas

    assert np.array_equal(grid.still(), expected(40, 5 * 32 + 4 * SEAM, None))
    moving = grid.moving() or b""
    with Pillow.open(io.BytesIO(moving)) as file:
        assert (file.n_frames, file.info["loop"]) == (5, 0)  # type: ignore[attr-defined]  # 0: forever
        for t in range(5):
            file.seek(t)
            decoded = np.asarray(file.convert("RGB")).astype(int)
            assert file.info["duration"] == 1000 / (rate or 8)
            assert frames is noise or np.abs(decoded - expected(120, 96, t)).max() <= 12


def test_captions_are_above_their_cells_and_change_no_other_pixel() -> None:
    long = "a caption that does not fit one line, as its image is narrow, and so is the place it has"
    rows = [[Cell(noise(1), long), Cell(noise(1), "short")], [Cell(noise(1))]]
    image = Grid(rows, {1}, {1}).still()
    left, lower = MARGIN + images.NARROWEST + WIDE_GAP, len(image) - MARGIN - 40
    top = lower - WIDE_GAP - GAP - 40
    assert top - START >= 2 * LINE
    assert (top - START) % LINE == 0
    written = image.min(-1) < 200
    assert written[START : START + LINE, MARGIN : left - WIDE_GAP].any()  # the first of several lines
    assert not written[: top - LINE, left:].any()  # a single line is just above its image
    assert written[top - LINE : top, left:].any()
    expected = np.full_like(image, 255)
    expected[:top] = image[:top]
    for y, x, cell in ((top, MARGIN, rows[0][0]), (top, left, rows[0][1]), (lower, MARGIN, rows[1][0])):
        expected[y : y + 40, x : x + 32] = cell.frames[0]
    assert np.array_equal(image, expected)


def test_a_legend_has_room_up_to_the_next_one_and_is_inside_an_empty_place() -> None:
    legends = {(0, 0): "inside", (0, 1): "a legend over many columns", (0, 8): "end"}
    grid = Grid([[None, *(Cell(noise(1)) for _ in range(8))]], legends=legends)
    written = grid.still().min(-1) < 200
    assert len(written) == START + LINE + 40 + MARGIN  # a single line
    assert written[START + LINE : -MARGIN, : MARGIN + 32].any()
    assert not written[: START + LINE, : MARGIN + 32].any()
    assert grid.moving() is None


def test_dollars_are_no_formulas_and_a_png_is_lossless() -> None:
    plain, dollars, _ = (Grid([[Cell(noise(1) * 0, text)]]).still() for text in ("ab", "a$b$", "$\\unknown{$ 5$"))
    assert (plain != dollars).any()
    (image,) = noise(1)
    assert np.array_equal(np.asarray(Pillow.open(io.BytesIO(images.png(image)))), image)
