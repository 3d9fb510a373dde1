"""Mixtures compared with a naive one that materialises everything; their shares, ranks and state."""

import json
from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate, chain, islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_orders import naive_mixture
from stored_records import independent_clips
from toy_clips import ToyClips

from seqviews.pipeline.manifest import DatasetInfo
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.records import endless
from seqviews.pipeline.stream import mixture
from seqviews.pipeline.stream.mixture import MixedOrder, MixtureSchedule
from seqviews.pipeline.stream.order import EpochOrder, Last
from seqviews.pipeline.stream.recordset import RecordSet
from seqviews.pipeline.stream.stream import SequenceStream

shards = st.lists(st.integers(1, 9), min_size=1, max_size=6)
sets_and_weights = st.lists(st.tuples(shards, st.integers(1, 9)), min_size=1, max_size=4)
WEIGHTS = [0.3, 0.7]


@given(sets_and_weights, st.integers(0, 2), st.integers(1, 4), st.integers(1, 3), st.integers(1, 20), st.data())
@settings(deadline=None, max_examples=60)
def test_mixed_order_is_the_naive_one(
    drawn: list[tuple[list[int], int]], seed: int, lanes: int, window: int, block: int, data: st.DataObject
) -> None:
    counts, weights = [c for c, _ in drawn], [w for _, w in drawn]
    schedule = MixtureSchedule([sum(c) for c in counts], weights)
    naive = naive_mixture(counts, list(map(Fraction, weights)), seed, lanes, window, block)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixture, "BLOCK", block)
        for epoch, expected in enumerate(islice(naive, 3)):
            arguments: dict[str, Any] = {"seed": seed, "epoch": epoch, "lanes": lanes, "window": window}
            order = MixedOrder(counts, schedule, **arguments)
            assert len(order) == len(expected)
            assert [(m.dataset, m.epoch, m.location.shard, m.location.record) for m in order] == expected
            middle = data.draw(st.integers(0, len(expected) - 1))
            m = MixedOrder(counts, schedule, **arguments)[middle]
            assert (m.dataset, m.epoch, m.location.shard, m.location.record) == expected[middle]
            first = [record for number, _, *record in expected if number == 0]
            assert sorted(first) == [[s, r] for s, n in enumerate(counts[0]) for r in range(n)]


def test_a_single_set_keeps_its_order_over_many_blocks() -> None:
    order: dict[str, Any] = {"seed": 5, "epoch": 2, "lanes": 3, "window": 2}
    counts = [700, 800, 900, 1000]
    alone = [(0, 2, location) for location in EpochOrder(counts, **order)]
    assert list(MixedOrder([counts], MixtureSchedule([3400]), **order)) == alone


@given(st.lists(st.integers(1, 500), min_size=1, max_size=5), st.data())
@settings(deadline=None, max_examples=100)
def test_counts_grow_and_stay_close_to_the_weights(sizes: list[int], data: st.DataObject) -> None:
    weight = st.floats(1e-3, 1e3)
    weights = data.draw(st.lists(weight, min_size=len(sizes), max_size=len(sizes)))
    schedule = MixtureSchedule(sizes, weights)
    assert schedule.counts(len(schedule))[0] == sizes[0]
    assert schedule.counts(len(schedule) - 1)[0] == sizes[0] - 1
    before = [0] * len(sizes)
    for position in range(1, min(len(schedule), 300) + 1):
        counts = schedule.counts(position)
        assert sum(counts) == position
        assert all(now >= then for now, then in zip(counts, before, strict=True))
        for counted, own in zip(counts, weights, strict=True):
            assert abs(counted - position * own / sum(weights)) < len(sizes)
        before = counts


@given(st.lists(st.integers(1, 500), min_size=1, max_size=5))
def test_without_weights_each_record_occurs_once(sizes: list[int]) -> None:
    schedule = MixtureSchedule(sizes)
    assert (len(schedule), schedule.counts(len(schedule))) == (sum(sizes), sizes)


def test_weights_mean_what_is_written() -> None:
    for weights in ([0.7, 0.3], [7, 3]):
        assert MixtureSchedule([7, 3], weights).shares == [Fraction(7, 10), Fraction(3, 10)]


def test_sets_are_spread_evenly_and_mixed_within_a_block() -> None:
    schedule = MixtureSchedule([3000, 500, 20], [6, 3, 1])
    order = MixedOrder([[3000], [500], [20]], schedule, seed=0, epoch=0, lanes=1, window=1)
    drawn = [mixed.dataset for mixed in order]
    assert len(drawn) == 5000
    for stop in range(1024, 5000, 1024):
        counted = Counter(drawn[stop - 1024 : stop])
        assert abs(np.array([counted[d] for d in range(3)]) - 1024 * np.array([0.6, 0.3, 0.1])).max() < 3
    same = sum(a == b for a, b in pairwise(drawn))
    # neighbours agree as if drawn independently: 0.36 + 0.09 + 0.01; 6 standard deviations
    assert abs(same / 4999 - 0.46) < 6 * np.sqrt(0.46 * 0.54 / 4999)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second data set of 15 clips in shards of 6, 6 and 3."""
    out = tmp_path_factory.mktemp("other") / "other"
    prepare(ToyClips((5, 1, 1)), out, shard_sources=2, seed=1)
    return out


def mixed_stream(toy: Path, other: Path, **arguments: Any) -> SequenceStream:
    arguments = {"weights": WEIGHTS, "seed": 3, "lanes": 4, "window": 1, **arguments}
    return SequenceStream([toy / "train", other / "train"], 8, **arguments)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_stream_yields_the_mixture(toy: Path, other: Path, threads: int) -> None:
    stored = [*independent_clips(toy / "train").items(), *independent_clips(other / "train").items()]
    first_index = [list(accumulate([6] * 6, initial=0)), [36, 42, 48]]
    naive = naive_mixture([[6] * 6, [6, 6, 3]], [Fraction(3), Fraction(7)], 3, 4, 1)
    stream = mixed_stream(toy, other, factors=["shade", "path"], threads=threads)
    assert len(stream) == 15, "120 positions: 36 of the first set, 84 of the 15 of the other"
    for epoch, records in enumerate(islice(naive, 3)):
        expected = [first_index[number][shard] + record for number, _, shard, record in records]
        batches = list(stream)
        assert {batch.epoch for batch in batches} == {epoch}
        assert [i for batch in batches for i in batch.indices.tolist()] == expected
        for batch in batches:
            for i, index in enumerate(batch.indices.tolist()):
                key, (frames, about) = stored[index]
                assert batch.keys[i] == key
                np.testing.assert_array_equal(batch.x[i].permute(0, 2, 3, 1).numpy(), frames)
                assert int(batch.factors["shade"][i]) == about["factors"]["shade"]
                np.testing.assert_array_equal(batch.factors["path"][i].numpy(), about["factors"]["path"])
    assert stream.epoch == 3


@pytest.mark.parametrize("last", ["keep", "drop", "pad"])
def test_ranks_share_the_batches_of_a_mixture(toy: Path, other: Path, last: Last) -> None:
    dark = RecordSet(toy / "train", lambda factors: factors["shade"] == 0)

    def epochs(batch_size: int, last: Last, rank: int = 0, ranks: int = 1) -> list[list[list[int]]]:
        """Two epochs of 24 + 48 records, in which the other set of 15 occurs 3.2 times."""
        options: dict[str, Any] = {"weights": [1, 2], "rank": rank, "ranks": ranks, "last": last, "window": 2}
        stream = SequenceStream([dark, other / "train"], batch_size, **options)
        return [[batch.indices.tolist() for batch in stream] for _ in range(2)]

    alone = epochs(10, last)
    for epoch, (records,) in zip(alone, epochs(72, "keep"), strict=True):
        expected = {"keep": records, "drop": records[:70], "pad": records + records[:8]}[last]
        assert list(chain.from_iterable(epoch)) == expected
    for ranks in (2, 4, 8):
        for rank in range(ranks):
            assert epochs(10, last, rank, ranks) == [[batch[rank::ranks] for batch in epoch] for epoch in alone]


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("received", [0, 1, 4, 14, 15, 19])
def test_a_state_of_four_ranks_resumes_on_others(toy: Path, other: Path, received: int, mixed: bool) -> None:
    def stream(**arguments: Any) -> SequenceStream:
        if mixed:
            return mixed_stream(toy, other, **arguments)
        return SequenceStream(toy / "train", 8, seed=3, last="pad", **arguments)

    whole = list(islice(endless(stream()), 30))
    four = [stream(rank=rank, ranks=4) for rank in range(4)]
    for part in four:
        assert len(list(islice(endless(part), received))) == received
    states = [json.loads(json.dumps(part.state_dict())) for part in four]
    assert states == [states[0]] * 4
    for ranks in (1, 2, 8):
        for rank in range(ranks):
            resumed = stream(rank=rank, ranks=ranks, threads=1)
            resumed.load_state_dict(states[0])
            rest = [(b.epoch, b.keys, b.x.numpy().tobytes()) for b in islice(endless(resumed), 30 - received)]
            parts = [(b.epoch, b.keys[rank::ranks], b.x[rank::ranks].numpy().tobytes()) for b in whole[received:]]
            assert rest == parts


def test_without_weights_every_record_of_every_set_once(toy: Path, other: Path) -> None:
    stream = mixed_stream(toy, other, weights=None)
    for _ in range(2):
        assert sorted(chain.from_iterable(batch.indices.tolist() for batch in stream)) == list(range(51))


def test_state_of_another_mixture(toy: Path, other: Path) -> None:
    state = mixed_stream(toy, other).state_dict()
    mixed_stream(toy, other, weights=[3, 7]).load_state_dict(state)
    with pytest.raises(ValueError, match=r"shares \['3/10', '7/10'\] instead of \['2/5', '3/5'\]"):
        mixed_stream(toy, other, weights=[2, 3]).load_state_dict(state)
    with pytest.raises(ValueError, match="manifests"):
        mixed_stream(other, toy).load_state_dict(state)


@dataclass(frozen=True)
class OtherClips(ToyClips):
    """Toy clips with other class names, and one factor fewer."""

    @property
    def info(self) -> DatasetInfo:
        return replace(super().info, static={"shade": ["light", "dark"]}, dynamic={})


def test_data_sets_that_cannot_be_mixed(toy: Path, other: Path, tmp_path: Path) -> None:
    prepare(ToyClips((2, 1, 1), shape=(3, 16, 16, 3)), tmp_path / "short")
    with pytest.raises(ValueError, match=r"short.* has clips of \[3, 16, 16, 3\], but .*toy.* has clips of \[4, 16"):
        SequenceStream([toy / "train", tmp_path / "short" / "train"], 8)
    prepare(OtherClips((2, 1, 1)), tmp_path / "renamed")
    pair = [toy / "train", tmp_path / "renamed" / "train"]
    assert len(SequenceStream(pair, 42)) == 1, "factors that were not asked for may differ"
    with pytest.raises(ValueError, match="the factor shade has other classes in"):
        SequenceStream(pair, 8, factors=["shade"])
    with pytest.raises(ValueError, match=r"renamed.* has no factor path"):
        SequenceStream(pair, 8, factors=["path"])
    with pytest.raises(ValueError, match="there is no data set"):
        SequenceStream([], 8)


@pytest.mark.parametrize("weights", [[1], [1, 2, 3], [1, 0], [1, -1], [1, float("nan")], [float("inf"), 1]])
def test_weights_out_of_range(toy: Path, other: Path, weights: list[float]) -> None:
    with pytest.raises(ValueError, match="not 2 numbers over 0"):
        mixed_stream(toy, other, weights=weights)
