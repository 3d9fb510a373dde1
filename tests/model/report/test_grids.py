from typing import cast

import numpy as np
import pytest
import torch
from moving_squares import MovingSquares
from square_models import PerfectModel
from torch import Tensor
from toy_speech import HALF, N_MELS, PerfectSpeech

from seqviews.model.protocol import Autoencoder
from seqviews.model.report import grids
from seqviews.model.report.grids import BETWEEN, DRAWN, diverse, heatmap
from seqviews.model.report.images import Frames, Grid, to_frames

MODEL = PerfectModel()


def squares(count: int, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    clips = [clip.frames for i in range(count) for clip in MovingSquares().records(str(i), rng)]
    return torch.from_numpy(np.stack(clips)).permute(0, 1, 4, 2, 3) / 255


def latents(real: Tensor) -> tuple[Tensor, Tensor]:
    posterior = MODEL.encode(real)
    return posterior.static.mean, posterior.dynamic.mean


def frames(grid: Grid) -> list[list[Frames]]:
    return [[np.empty(0, np.uint8) if cell is None else cell.frames for cell in row] for row in grid.rows]


def motions(*clips: Frames) -> list[bytes]:
    return [bytes((clip > 0).tobytes()) for clip in clips]


def shades(*clips: Frames) -> list[int]:
    return [int(clip.max()) for clip in clips]


def test_a_perfect_reconstruction_is_below_its_clip() -> None:
    real = squares(3)
    grid = grids.reconstruction_grid(MODEL, *latents(real), real, torch.tensor([7.25, 8.0, 9.0]))
    upper, below, last, below_last = frames(grid)
    assert np.array_equal([*upper, *last], [to_frames(clip) for clip in real])
    assert np.array_equal([*upper, *last], [*below, *below_last])
    assert [cell.caption for cell in grid.rows[1] if cell] == [f"reconstruction, {x} dB PSNR" for x in (7.2, 8.0)]


def test_exchanged_motions_keep_their_shades() -> None:
    real = squares(5)
    rows = frames(grids.exchange_grid(MODEL, *latents(real), real))
    assert len(rows) == 4
    for clips, exchanged in (rows[:2], rows[2:]):
        assert shades(*exchanged) == shades(*clips)
        assert motions(*exchanged) == motions(*clips[::-1])


def test_the_kept_latent_stays_and_the_drawn_one_varies() -> None:
    real = squares(1)
    s, z = latents(real)

    def generations(seed: int) -> list[list[Frames]]:
        return frames(grids.generation_grid(MODEL, s[0], z[0], real[0], torch.Generator().manual_seed(seed)))

    (clip, _), *rows = generations(0)
    left, right = zip(*rows, strict=True)
    assert motions(*left) == motions(clip) * DRAWN
    assert shades(*right) == shades(clip) * DRAWN
    assert len(set(shades(*left))) > 1
    assert len(set(motions(*right))) > 1
    assert np.array_equal(generations(0)[1:], rows)
    assert not np.array_equal(generations(1)[1:], rows)


def test_shades_change_in_equal_steps_along_the_line() -> None:
    real = squares(4)
    rows = frames(grids.interpolation_grid(MODEL, torch.tensor([[0.2], [0.8], [0.9], [0.1]]), latents(real)[1]))
    for column, (start, end) in enumerate([(0.2, 0.8), (0.9, 0.1)]):
        made = [row[column] for row in rows]
        assert shades(*made) == pytest.approx(np.linspace(start, end, BETWEEN + 2) * 255, abs=0.51)
        assert motions(*made) == motions(to_frames(real[2 * column])) * (BETWEEN + 2)


def test_swaps_have_columns_of_s_and_rows_of_z() -> None:
    content, moved = squares(3, seed=1), squares(2, seed=2)
    (_, *top), *rows = frames(grids.swap_grid(MODEL, latents(content)[0], latents(moved)[1], content, moved))
    assert np.array_equal(top, [to_frames(clip) for clip in content])
    for row, clip in zip(rows, moved, strict=True):
        assert np.array_equal(row, [to_frames(clip), *(to_frames((clip > 0) * s.max()) for s in content)])


def test_draws_keep_the_other_latent() -> None:
    real = squares(2, seed=1)
    rows = frames(grids.sample_grid(MODEL, *latents(real), real, torch.Generator().manual_seed(0)))
    for row, clip in zip(rows, real, strict=True):
        assert np.array_equal(row[0], to_frames(clip))
        assert motions(*row[:3]) == motions(row[0]) * 3
        assert shades(*row[3:]) == shades(row[0]) * 2


def test_views_are_below_their_clips_and_samples_in_rows() -> None:
    x = torch.rand(3, 2, 3, 8, 8)
    rows = frames(grids.views_grid([(x, ["a", "b", "c"]), (1 - x, ["", "", ""])]))
    for row, clips in zip(rows, (x[:2], 1 - x[:2], x[2:], 1 - x[2:]), strict=True):
        assert np.array_equal(row, [to_frames(clip) for clip in clips])
    cells = [cell for row in frames(grids.samples_grid(x.repeat(3, 1, 1, 1, 1))) for cell in row]
    assert np.array_equal(cells, [to_frames(clip) for clip in x] * 3)


def test_cross_generation_takes_s_by_row_and_z_by_column() -> None:
    segments = torch.randn(3, 6, N_MELS)
    segments[..., HALF:] = segments[:, :1, HALF:]
    (_, *top), *rows = frames(grids.cross_grid(cast(Autoencoder, PerfectSpeech()), segments))
    assert np.array_equal(top, [heatmap(segment)[None] for segment in segments])
    for s, row in zip(segments, rows, strict=True):
        made = [heatmap(torch.cat([z[:, :HALF], s[:, HALF:]], dim=1))[None] for z in segments]
        assert np.array_equal(row, [heatmap(s)[None], *made])


def test_a_heatmap_has_low_frequencies_at_the_bottom_and_time_to_the_right() -> None:
    segment = torch.full((3, 5), -2.5)
    segment[2, 0] = 2.5
    image = heatmap(segment).astype(int).sum(axis=2)
    assert image.shape == (10, 12)
    assert np.argwhere(image == image.max()).tolist() == [[y, x] for y in (8, 9) for x in range(8, 12)]


def test_diverse_clips_differ_in_every_factor_if_they_can() -> None:
    labels = torch.randint(6, (500, 3), generator=torch.Generator().manual_seed(0))
    chosen = labels[diverse(labels, 5, torch.Generator().manual_seed(1))]
    assert all((chosen[a] != chosen[b]).all() for a in range(5) for b in range(a))
    none = torch.zeros(20, 0, dtype=torch.int64)  # without factors, just different clips
    first, again, different = (diverse(none, 6, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert len(set(first)) == 6
    assert first == again != different
    assert sorted(diverse(none[:3], 6, torch.Generator().manual_seed(0))) == [0, 1, 2]
