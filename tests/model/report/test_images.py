from __future__ import annotations

import io

import numpy as np
import torch
from moving_squares import SIDE, MovingSquares
from PIL import Image as Pillow
from square_models import PerfectModel

from seqviews.model.report.images import (
    GAP,
    LINE,
    MARGIN,
    NARROWEST,
    SEAM,
    WIDE_GAP,
    caption,
    captioned,
    diverse,
    film_strip,
    png,
    sample_grid,
    swap_grid,
    tile,
)


def squares(count: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    clips = [clip.frames for i in range(count) for clip in MovingSquares().records(f"clip-{i}", rng)]
    return torch.from_numpy(np.stack(clips)).permute(0, 1, 4, 2, 3) / 255


def test_a_strip_shows_frames_from_the_first_to_the_last_enlarged() -> None:
    clip = torch.rand(9, 3, 20, 12, generator=torch.Generator().manual_seed(0))
    strip = film_strip(clip, frames=3)
    assert strip.shape == (60, 3 * 36 + 2 * SEAM, 3)
    for place, t in enumerate((0, 4, 8)):
        for y, x in ((0, 0), (31, 17), (59, 35)):
            expected = [round(float(clip[t, c, y // 3, x // 3]) * 255) for c in range(3)]
            assert strip[y, place * (36 + SEAM) + x].tolist() == expected
    assert (strip[:, 36 : 36 + SEAM] == 255).all()


def test_a_strip_of_a_short_grey_clip_shows_all_of_it() -> None:
    strip = film_strip(torch.full((2, 1, 64, 64), 0.2))
    assert strip.shape == (64, 128 + SEAM, 3)
    assert (strip[:, :64] == 51).all()


def test_tiles_are_where_they_should_be() -> None:
    images = [np.full((10, 20, 3), value, np.uint8) for value in (10, 20, 30, 40, 50)]
    canvas = tile([[None, images[0], images[1]], [images[2], images[3], images[4]]], row_breaks={1}, column_breaks={1})
    lefts = [MARGIN, MARGIN + 20 + WIDE_GAP, MARGIN + 40 + WIDE_GAP + GAP]
    tops = [MARGIN, MARGIN + 10 + WIDE_GAP]
    expected = np.full((tops[1] + 10 + MARGIN, lefts[2] + 20 + MARGIN, 3), 255, np.uint8)
    for row, column, value in ((0, 1, 10), (0, 2, 20), (1, 0, 30), (1, 1, 40), (1, 2, 50)):
        expected[tops[row] : tops[row] + 10, lefts[column] : lefts[column] + 20] = value
    assert np.array_equal(canvas, expected)


def test_captions_change_no_pixel_elsewhere() -> None:
    image = np.random.default_rng(0).integers(0, 256, (121, 333, 3), dtype=np.uint8)
    captioned = caption(image, {(10, 20): "a caption"})
    assert not np.array_equal(captioned[10:30], image[10:30])
    assert np.array_equal(captioned[40:], image[40:])
    assert np.array_equal(caption(image, {}), image)


def test_swap_grid_has_columns_of_s_and_rows_of_z() -> None:
    model, content, motion = PerfectModel(), squares(3, seed=1), squares(2, seed=2)
    s, z = model.encode(content).static.mean, model.encode(motion).dynamic.mean
    grid = swap_grid(model, s, z, content, motion)
    height, width = 64, 4 * 64 + 3 * SEAM
    lefts = [MARGIN, *(MARGIN + width + WIDE_GAP + i * (width + GAP) for i in range(3))]
    tops = [MARGIN, *(MARGIN + height + WIDE_GAP + i * (height + GAP) for i in range(2))]
    assert grid.shape == (tops[-1] + height + MARGIN, lefts[-1] + width + MARGIN, 3)
    for i in range(3):
        shade = content[i].max()
        assert np.array_equal(grid[tops[0] :, lefts[1 + i] :][:height, :width], film_strip(content[i]))
        for j in range(2):
            wanted = film_strip((motion[j] > 0) * shade)
            assert np.array_equal(grid[tops[1 + j] :, lefts[1 + i] :][:height, :width], wanted)
    for j in range(2):
        assert np.array_equal(grid[tops[1 + j] :, lefts[0] :][:height, :width], film_strip(motion[j]))


def test_captioned_images_are_below_their_captions() -> None:
    images = [np.full((10, 20, 3), value, np.uint8) for value in (10, 20, 30)]
    long = "a caption that does not fit one line, as its image is narrow, and so is the place it has"
    bare = captioned([[(images[0], ""), (images[1], "")], [(images[2], "")]], row_breaks={1})
    left = MARGIN + NARROWEST + WIDE_GAP
    top, lower = MARGIN // 2, MARGIN // 2 + 10 + GAP + WIDE_GAP
    expected = np.full((lower + 10 + MARGIN, left + NARROWEST + MARGIN, 3), 255, np.uint8)
    for y, x, value in ((top, MARGIN, 10), (top, left, 20), (lower, MARGIN, 30)):
        expected[y : y + 10, x : x + 20] = value
    assert np.array_equal(bare, expected)
    grid = captioned([[(images[0], long), (images[1], "short")], [(images[2], "")]], row_breaks={1})
    room = len(grid) - len(bare)
    assert room >= 2 * LINE
    assert room % LINE == 0
    written = grid.min(-1) < 200
    assert written[top : top + LINE, MARGIN : left - WIDE_GAP].any()  # the first of several lines
    assert not written[top : top + room - LINE, left:].any()  # a single line is just above its image
    assert written[top + room - LINE : top + room, left:].any()
    assert np.array_equal(grid[top + room :], bare[top:])


def test_samples_keep_what_is_not_drawn() -> None:
    model, real = PerfectModel(), squares(2, seed=1)
    posterior = model.encode(real)
    generator = torch.Generator().manual_seed(0)
    grid = sample_grid(model, posterior.static.mean, posterior.dynamic.mean, real, generator)
    width = 4 * 64 + 3 * SEAM
    gaps = (0, WIDE_GAP, WIDE_GAP + GAP, 2 * WIDE_GAP + GAP, 2 * WIDE_GAP + 2 * GAP)
    lefts = [MARGIN + i * width + gap for i, gap in enumerate(gaps)]
    for row in range(2):
        top = MARGIN + row * (64 + GAP)
        cells = [grid[top : top + 64, left : left + width] for left in lefts]
        assert np.array_equal(cells[0], film_strip(real[row]))
        lit = [cell * (cell < 255) for cell in cells]  # without the seams
        assert all(np.array_equal(cell > 0, lit[0] > 0) for cell in lit[1:3])
        assert all(cell.max() == lit[0].max() for cell in lit[3:])


def test_a_png_is_lossless() -> None:
    image = np.random.default_rng(0).integers(0, 256, (SIDE, 30, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(Pillow.open(io.BytesIO(png(image)))), image)


def test_diverse_clips_differ_in_every_factor_if_they_can() -> None:
    labels = torch.randint(6, (500, 3), generator=torch.Generator().manual_seed(0))
    chosen = labels[diverse(labels, 5, torch.Generator().manual_seed(1))]
    for a in range(5):
        for b in range(a):
            assert (chosen[a] != chosen[b]).all()


def test_diverse_clips_without_factors_are_different_clips() -> None:
    none = torch.zeros(20, 0, dtype=torch.int64)
    first, again, other = (diverse(none, 6, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert len(set(first)) == 6
    assert first == again != other
    assert sorted(diverse(none[:3], 6, torch.Generator().manual_seed(0))) == [0, 1, 2]
