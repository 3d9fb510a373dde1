"""The order compared with a naive one that materialises everything, for random arguments."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_orders import naive_order

from seqviews.pipeline.stream.order import EpochOrder, Last, batch_count, batch_positions

counts = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@given(counts, st.integers(0, 5), st.integers(0, 3), st.data())
@settings(deadline=None, max_examples=150)
def test_order_equals_the_naive_one(counts: list[int], seed: int, epoch: int, data: st.DataObject) -> None:
    lanes, window = data.draw(st.integers(1, len(counts))), data.draw(st.integers(1, 4))
    order = EpochOrder(counts, seed=seed, epoch=epoch, lanes=lanes, window=window)
    expected = naive_order(counts, seed, epoch, lanes, window)
    assert [(p.shard, p.record) for p in order] == expected
    middle = data.draw(st.integers(0, len(expected) - 1))
    fresh = EpochOrder(counts, seed=seed, epoch=epoch, lanes=lanes, window=window)
    for any_time in (fresh, order):  # also backwards from the end, as in a padded batch
        assert (any_time[middle].shard, any_time[middle].record) == expected[middle]


@given(counts, st.integers(1, 20), st.integers(1, 8), st.sampled_from(["keep", "drop", "pad"]), st.data())
@settings(deadline=None, max_examples=150)
def test_ranks_share_every_record_once(
    counts: list[int], batch_size: int, ranks: int, last: Last, data: st.DataObject
) -> None:
    records = len(EpochOrder(counts, seed=1, epoch=0, lanes=data.draw(st.integers(1, len(counts))), window=2))
    batches = batch_count(records, batch_size, last)

    def part(number: int, rank: int, of: int) -> list[int]:
        return batch_positions(number, records=records, batch_size=batch_size, last=last, rank=rank, ranks=of)

    seen = list(chain.from_iterable(part(number, 0, 1) for number in range(batches)))
    for number in range(batches):
        for rank in range(ranks):
            assert part(number, rank, ranks) == part(number, 0, 1)[rank::ranks]
    if last == "pad":
        assert records <= len(seen) == batches * batch_size < records + batch_size
        assert set(seen) == set(range(records))
    else:
        assert sorted(seen) == list(range(records if last == "keep" else records // batch_size * batch_size))


def test_records_of_a_window_are_mixed_evenly() -> None:
    first = [EpochOrder([4, 4], seed=0, epoch=epoch, lanes=1, window=2)[0] for epoch in range(4000)]
    counted = np.unique([p.shard * 4 + p.record for p in first], return_counts=True)[1]
    assert len(counted) == 8
    # 500 each expected; 6 standard deviations of a binomial count
    assert abs(counted - 500).max() < 6 * np.sqrt(4000 / 8 * 7 / 8)


def test_positions_out_of_range() -> None:
    order = EpochOrder([2, 1], seed=0, epoch=0, lanes=1, window=1)
    with pytest.raises(IndexError, match="3 records"):
        order[3]
