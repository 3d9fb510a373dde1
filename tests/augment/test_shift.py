"""Frames move as an image library moves them, and as the record's seed says."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops

from seqviews.augment import MultiView, ShiftedShuffle, TemporalShuffle
from seqviews.augment.shift import shift_frames
from seqviews.augment.temporal import take_frames

SEEDS = torch.arange(100, 106)


def clips(channels: int = 1) -> torch.Tensor:
    return torch.randint(0, 256, (6, 5, channels, 9, 7), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_frames_move_as_pillow_moves_them_and_black_comes_in() -> None:
    x = clips()
    shifts = ShiftedShuffle(3).draw_shifts(SEEDS, 5)
    moved = shift_frames(x, shifts, 3)
    for clip, of_clip, offsets in zip(moved, x, shifts.tolist(), strict=True):
        for frame, of_frame, (down, right) in zip(clip, of_clip, offsets, strict=True):
            large = Image.new("L", (7 + 6, 9 + 6))
            large.paste(Image.fromarray(of_frame[0].numpy()), (3, 3))
            expected = np.asarray(ImageChops.offset(large, right, down))[3:-3, 3:-3]
            assert np.array_equal(frame[0].numpy(), expected)


def test_every_shift_is_as_likely_and_a_function_of_the_seed_alone() -> None:
    view = ShiftedShuffle(2)
    shifts = view.draw_shifts(torch.arange(4000), 5)
    counts = (5 * shifts[..., 0] + shifts[..., 1] + 12).flatten().bincount(minlength=25)
    assert len(counts) == 25
    assert (counts - 800).abs().max() < 5 * 800**0.5
    assert torch.equal(view.draw_shifts(torch.arange(10, 20), 5), shifts[10:20])
    assert torch.equal(view.draw_shifts(torch.arange(10, 20), 3), shifts[10:20, :3])  # a padded clip's are its own
    order = view.draw(torch.arange(4000), 5)
    assert abs(np.corrcoef(order[:, 0].numpy(), shifts[:, 0, 0].numpy())[0, 1]) < 0.08  # five deviations


def test_the_content_view_of_a_batch_is_shuffled_then_moved() -> None:
    x, view = clips(3), ShiftedShuffle(3)
    views = MultiView(content=view)(x, SEEDS)
    assert views.order is not None
    assert torch.equal(views.order, TemporalShuffle().draw(SEEDS, 5))
    expected = shift_frames(take_frames(views.anchor, views.order), view.draw_shifts(SEEDS, 5), 3)
    assert torch.equal(views.content, expected)
    assert not torch.equal(views.content, take_frames(views.anchor, views.order))
    alone = MultiView(content=view)(x[4:], SEEDS[4:])
    assert torch.equal(alone.content, views.content[4:])
    assert MultiView(content=TemporalShuffle())(x, SEEDS).changed_content is None


def test_a_padded_clip_has_the_content_view_that_it_has_alone() -> None:
    x, view, lengths = clips(), ShiftedShuffle(3), [5, 1, 3, 4, 2, 5]
    for row, length in enumerate(lengths):
        x[row, length:] = 0
    views = MultiView(content=view)(x, SEEDS, lengths=torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone = MultiView(content=view)(x[row : row + 1, :length], SEEDS[row : row + 1])
        assert torch.equal(views.content[row, :length], alone.content[0])
        assert not views.content[row, length:].any()


def test_alone_it_draws_from_torchs_generator() -> None:
    x, view = clips().float(), ShiftedShuffle(3)
    torch.manual_seed(0)
    first = view(x)
    assert not torch.equal(first, view(x))
    torch.manual_seed(0)
    assert torch.equal(first, view(x))
    still = torch.arange(5).repeat(6, 1), torch.zeros(6, 5, 2, dtype=torch.int64)
    assert torch.equal(view(x, *still), x)


def test_what_cannot_be_shifted_is_an_error() -> None:
    with pytest.raises(ValueError, match="pixels is 0; it must be at least 1"):
        ShiftedShuffle(0)
    with pytest.raises(ValueError, match="pixels is 7, but frames are 9 x 7"):
        ShiftedShuffle(7)(clips())
    with pytest.raises(ValueError, match=r"not in segments \[6, 5, 80\]"):
        MultiView(content=ShiftedShuffle(3))(torch.rand(6, 5, 80), SEEDS)
