"""Content views contain the frames of the clip in the given order."""

import pytest
import torch

from seqviews.augment import TemporalReverse, TemporalShuffle
from seqviews.augment.temporal import take_frames, within

SEEDS = torch.arange(100, 105)


@pytest.mark.parametrize("shape", [(5, 7, 3, 4, 6), (5, 7, 80), (5, 7)])
@pytest.mark.parametrize("view", [TemporalShuffle(), TemporalReverse()], ids=lambda v: type(v).__name__)
def test_frames_are_taken_in_order(view: TemporalShuffle | TemporalReverse, shape: tuple[int, ...]) -> None:
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    order = view.draw(SEEDS, shape[1])
    assert order.shape == (5, 7)
    assert order.dtype == torch.int64
    y = view(x, order)
    assert torch.equal(y, torch.stack([clip[o] for clip, o in zip(x, order, strict=True)]))


def test_shuffle_by_seed_and_by_torch_generator() -> None:
    x = torch.arange(5 * 30).view(5, 30)
    shuffle = TemporalShuffle()
    order = shuffle.draw(SEEDS, 30)
    assert len({tuple(o) for o in order.tolist()}) == 5
    assert torch.equal(shuffle.draw(SEEDS[3:], 30), order[3:])
    torch.manual_seed(0)
    first = shuffle(x)
    assert not torch.equal(first, shuffle(x))
    assert torch.equal(first.sort(dim=1).values, x)
    torch.manual_seed(0)
    assert torch.equal(first, shuffle(x))


@pytest.mark.parametrize("view", [TemporalShuffle(), TemporalReverse()], ids=lambda v: type(v).__name__)
def test_padding_stays_and_a_clip_has_the_order_that_it_has_alone(view: TemporalShuffle | TemporalReverse) -> None:
    lengths = [9, 1, 4, 8, 3]
    order = within(view.draw(SEEDS, 9), torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone = view.draw(SEEDS[row : row + 1], length)[0].tolist()
        assert order[row].tolist() == [*alone, *range(length, 9)]


def test_reverse_is_always_reversed_and_frames_stay_channels_last() -> None:
    reverse = TemporalReverse()
    x = torch.rand(2, 6, 6, 5, 3).permute(0, 1, 4, 2, 3)
    assert torch.equal(reverse(x), reverse(x, reverse.draw(SEEDS[:2], 6)))
    assert torch.equal(reverse(x)[:, 0], x[:, 5])
    assert take_frames(x, TemporalShuffle().draw(SEEDS[:2], 6)).stride() == x.stride()
