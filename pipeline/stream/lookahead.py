"""Lookahead: which shards of a data set a stream reads next, and when."""

from collections.abc import Sequence
from math import gcd

from seqviews.pipeline.stream.order import EpochOrder


class Lookahead:
    """Follows a stream through the windows of one data set; the arguments are those of `EpochOrder` and the stream.

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
        self._this = self._next = self._order(0)

    def enter(self, epoch: int, lane: int, window: int) -> None:
        """Record that a lane has entered a window, whose shards are being read."""
        if epoch != self._epoch:
            self._this, self._next = self._order(epoch), self._order(epoch + 1)
            self._epoch, self._entered = epoch, {}
        self._entered[lane] = window
        self._moved.append(lane)

    @property
    def moved(self) -> bool:
        """Whether a lane has entered a window since the last call of `soon`."""
        return bool(self._moved)

    def soon(self) -> list[int]:
        """Return the shards of the next windows of the lanes that moved since the last call.

        Past the end of an epoch only the rank's own lanes count: at its end the rank reads other lanes, too.
        """
        moved, self._moved = self._moved, []
        shards: list[int] = []
        for lane in moved:
            following = self._entered.get(lane, 0) + 1  # a lane that moved in the last epoch starts this one
            if following < self._this.windows(lane):
                shards += self._this.shards_of(lane, following)
            elif (lane - self._rank) % self._common == 0:
                shards += self._next.shards_of(lane, 0)
        return shards

    def when(self, shard: int) -> int:
        """Return the number of windows until a shard is read, at least 1; other ranks' lanes count as equally far."""
        slowest = min(self._entered.values(), default=0)
        lane, window = self._this.window_of(shard)
        now = self._entered.get(lane, slowest)
        if window > now:
            return window - now
        lane, window = self._next.window_of(shard)
        return max(1, self._this.windows(lane) - self._entered.get(lane, slowest) + window)

    def _order(self, epoch: int) -> EpochOrder:
        return EpochOrder(self._counts, seed=self._seed, epoch=epoch, lanes=self._lanes, window=self._size)
