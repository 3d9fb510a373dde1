"""The order of an epoch: a pure function of the shards' record counts, the seed, the epoch, lanes and window."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Last: TypeAlias = Literal["keep", "drop", "pad"]


class RecordLocation(NamedTuple):
    """The location of a record: its lane, window of the lane, shard, and position in the shard."""

    lane: int
    window: int
    shard: int
    record: int


class EpochOrder:
    """The global sequence G of an epoch: `order[p]` is the record at position p.

    The shards are permuted and dealt to the lanes. Within a lane the records of each window of shards are permuted.
    The lanes are interleaved round-robin; an exhausted lane is skipped. Nothing is materialised: a look-up costs the
    permutation of one window, which is kept until the lane enters the next.

    Args:
        counts: Number of records of each shard, in the manifest's order.
        seed, epoch: Determine the permutations; both at least 0.
        lanes: Number of shards read in parallel, from 1 to the number of shards.
        window: Number of shards of a lane that are mixed, at least 1.

    Example:
        >>> order = EpochOrder([3, 2, 4], seed=0, epoch=0, lanes=2, window=1)
        >>> sorted((location.shard, location.record) for location in order)
        [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3)]
    """

    def __init__(self, counts: Sequence[int], *, seed: int, epoch: int, lanes: int, window: int) -> None:
        self._seed, self._epoch, self._size = seed, epoch, window
        self._shards, self._counts = permutation(len(counts), seed, epoch), np.asarray(counts, np.int64)
        self._dealt = [self._shards[lane::lanes] for lane in range(lanes)]
        self._starts: list[NDArray[np.int64]] = []  # of the windows of each lane, and the end of the last
        for dealt in self._dealt:
            sizes = np.add.reduceat(self._counts[dealt], np.arange(0, len(dealt), window))
            self._starts.append(np.concatenate([[0], sizes.cumsum()]))
        lengths = [int(starts[-1]) for starts in self._starts]
        self._length = sum(lengths)
        self._phases = _phases(lengths)
        self._phase_starts = [phase.position for phase in self._phases]
        self._entered: dict[int, _Entered] = {}

    def __len__(self) -> int:
        """Return the number of records."""
        return self._length

    def __iter__(self) -> Iterator[RecordLocation]:
        """Iterate over the records in order."""
        return map(self.__getitem__, range(self._length))

    def __getitem__(self, position: int) -> RecordLocation:
        """Return the record at a position of G. Raises `IndexError` if the position is not in `[0, len)`."""
        if not 0 <= position < self._length:
            raise IndexError(f"position {position} is not in an epoch of {self._length} records")
        phase = self._phases[bisect_right(self._phase_starts, position) - 1]
        turn, number = divmod(position - phase.position, len(phase.lanes))
        lane = phase.lanes[number]
        offset = phase.offset + turn
        entered = self._entered.get(lane)
        if entered is None or not entered.window.start <= offset < entered.window.stop:
            entered = self._entered[lane] = self._enter(lane, offset)
        window = entered.window
        mixed = int(entered.permuted[offset - window.start])
        i = bisect_right(window.shard_starts, mixed) - 1
        return RecordLocation(lane, entered.number, window.shards[i], mixed - window.shard_starts[i])

    def shards_of(self, lane: int, window: int) -> list[int]:
        """Return the shards that a window of a lane mixes."""
        return self._window(lane, window).shards

    def window_of(self, shard: int) -> tuple[int, int]:
        """Return the lane of a shard, and its window there."""
        turn, lane = divmod(int(self._turns[shard]), len(self._dealt))
        return lane, turn // self._size

    def windows(self, lane: int) -> int:
        """Return the number of windows of a lane."""
        return len(self._starts[lane]) - 1

    @cached_property
    def _turns(self) -> NDArray[np.int64]:
        """The turn of each shard in the permutation."""
        return self._shards.argsort()

    def _window(self, lane: int, number: int) -> _Window:
        shards = self._dealt[lane][number * self._size : (number + 1) * self._size]
        return _Window(int(self._starts[lane][number]), shards.tolist(), self._counts[shards].tolist())

    def _enter(self, lane: int, offset: int) -> _Entered:
        number = int(np.searchsorted(self._starts[lane], offset, "right")) - 1
        window = self._window(lane, number)
        permuted = permutation(window.stop - window.start, self._seed, self._epoch, lane, number)
        return _Entered(number, window, permuted)


class _Window:
    """A stretch `[start, stop)` of a lane whose shards, with these numbers of records, are mixed."""

    def __init__(self, start: int, shards: list[int], counts: list[int]) -> None:
        self.start, self.shards = start, shards
        *self.shard_starts, size = accumulate(counts, initial=0)
        self.stop = start + size


class _Entered(NamedTuple):
    """The current window of a lane, and the permutation of its records."""

    number: int
    window: _Window
    permuted: NDArray[np.int64]


class _Phase(NamedTuple):
    """A stretch of G from `position` on, over which the same lanes take turns, each from its `offset` on."""

    position: int
    offset: int
    lanes: list[int]


def _phases(lengths: Sequence[int]) -> list[_Phase]:
    phases, position, offset = [], 0, 0
    for end in sorted(set(lengths)):
        active = [lane for lane, length in enumerate(lengths) if length > offset]
        phases.append(_Phase(position, offset, active))
        position += len(active) * (end - offset)
        offset = end
    return phases


def permutation(size: int, *seed: int) -> NDArray[np.int64]:
    """Return the numbers below `size` in an order that depends only on `seed`, all at least 0."""
    # SeedSequence treats (a, b) and (a, b, 0, 0) alike: the length in front distinguishes them.
    # numpy guarantees the raw stream of a bit generator across versions, not that of Generator.permutation.
    return np.random.PCG64(np.random.SeedSequence((len(seed), *seed))).random_raw(size).argsort(kind="stable")


def batch_count(records: int, batch_size: int, last: Last) -> int:
    """Return the number of global batches of an epoch."""
    return records // batch_size if last == "drop" else -(-records // batch_size)


def batch_positions(
    batch: int, *, records: int, batch_size: int, last: Last, rank: int = 0, ranks: int = 1
) -> list[int]:
    """Return the positions in G of one rank's part of a global batch: every `ranks`-th from the `rank`-th.

    With `last="pad"` the last batch is filled with records from the start of G, which then occur twice in the epoch.

    Example:
        >>> batch_positions(1, records=6, batch_size=4, last="keep")
        [4, 5]
        >>> batch_positions(1, records=6, batch_size=4, last="pad", rank=1, ranks=2)
        [5, 1]
    """
    stop = (batch + 1) * batch_size
    if last == "keep":
        stop = min(stop, records)
    return [position % records for position in range(batch * batch_size + rank, stop, ranks)]
