"""Lookahead: which shards of a data set a stream will need, and when."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from seqviews.pipeline.stream.order import EpochOrder


class Lookahead:
    """Follows a stream through the windows of one data set; arguments as those of `EpochOrder`, and of the stream.

    Example:
        >>> ahead = Lookahead([1] * 6, seed=0, lanes=1, window=2)
        >>> ahead.enter(epoch=0, lane=0, window=1)
        >>> soon = ahead.soon()
        >>> soon == EpochOrder([1] * 6, seed=0, epoch=0, lanes=1, window=2).shards_of(lane=0, window=2)
        True
        >>> [ahead.when(shard) for shard in soon]
        [1, 1]
    """

    def __init__(
        self, counts: Sequence[int], *, seed: int, lanes: int, window: int, rank: int = 0, ranks: int = 1
    ) -> None:
        self._counts, self._seed, self._size = counts, seed, window
        self._lanes = min(lanes, len(counts))
        self._rank, self._common = rank, gcd(self._lanes, ranks)
        self._epoch, self._entered, self._moved = -1, dict[int, int](), list[int]()
        self._this, self._next = _Uses(), _Uses()

    def enter(self, epoch: int, lane: int, window: int) -> None:
        """Note that a lane has come to a window: its shards are in hand."""
        if epoch != self._epoch:
            self._this, self._next = self._uses(epoch), self._uses(epoch + 1)
            self._epoch, self._entered = epoch, {}
        self._entered[lane] = window
        self._moved.append(lane)

    @property
    def moved(self) -> bool:
        """Whether a window was entered since the last call of `soon`."""
        return bool(self._moved)

    def soon(self) -> list[int]:
        """The shards of the windows that come next in the lanes that moved since the last call.

        Over the end of an epoch only in the rank's own lanes: at the end it has records from those of others, too.
        """
        moved, self._moved = self._moved, []
        shards: list[int] = []
        for lane in moved:
            following = self._entered.get(lane, 0) + 1  # a lane that moved before the epoch ended is at its beginning
            if following < self._this.windows[lane]:
                shards += self._this.shards[lane, following]
            elif (lane - self._rank) % self._common == 0:
                shards += self._next.shards[lane, 0]
        return shards

    def when(self, shard: int) -> int:
        """In how many windows a shard is needed next, at least 1; lanes of other ranks are taken to be as far."""
        others = min(self._entered.values(), default=0)
        lane, window = self._this.places[shard]
        now = self._entered.get(lane, others)
        if window > now:
            return window - now
        lane, window = self._next.places[shard]
        return max(1, self._this.windows[lane] - self._entered.get(lane, others) + window)

    def _uses(self, epoch: int) -> _Uses:
        order = EpochOrder(self._counts, seed=self._seed, epoch=epoch, lanes=self._lanes, window=self._size)
        uses = _Uses()
        for lane in range(self._lanes):
            uses.windows.append(order.windows(lane))
            for window in range(uses.windows[lane]):
                shards = uses.shards[lane, window] = order.shards_of(lane, window)
                uses.places |= dict.fromkeys(shards, (lane, window))
        return uses


class _Uses:
    """The windows of an epoch: how many a lane has, the shards of each, and where a shard is."""

    def __init__(self) -> None:
        self.windows = list[int]()
        self.shards = dict[tuple[int, int], list[int]]()
        self.places = dict[int, tuple[int, int]]()
