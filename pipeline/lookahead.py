"""Lookahead: which shards of a data set a stream will need, and when."""

from __future__ import annotations

from collections.abc import Sequence

from seqviews.pipeline.order import EpochOrder


class Lookahead:
    """Follows a stream through the windows of one data set; arguments as those of `EpochOrder`.

    Example:
        >>> ahead = Lookahead([1] * 6, seed=0, lanes=1, window=2)
        >>> ahead.enter(epoch=0, lane=0, window=1)
        >>> needed, soon = ahead.look()
        >>> soon == EpochOrder([1] * 6, seed=0, epoch=0, lanes=1, window=2).shards_of(lane=0, window=2)
        True
        >>> sorted(needed.values())
        [1, 1, 2, 3, 4, 4]
    """

    def __init__(self, counts: Sequence[int], *, seed: int, lanes: int, window: int) -> None:
        self._counts, self._seed = counts, seed
        self._lanes, self._window = min(lanes, len(counts)), window
        self._orders: dict[int, EpochOrder] = {}
        self._epoch = 0
        self._entered: dict[int, int] = {}
        self._new: list[int] = []
        self._own: set[int] = set()

    def enter(self, epoch: int, lane: int, window: int) -> None:
        """Note that a lane has come to a window: its shards are in hand."""
        if epoch != self._epoch:
            self._epoch, self._entered = epoch, {}
        self._entered[lane] = window
        self._new.append(lane)

    @property
    def moved(self) -> bool:
        """Whether a window was entered since the last look."""
        return bool(self._new)

    def look(self) -> tuple[dict[int, int], list[int]]:
        """In how many windows each shard is needed next, and the shards of the windows next in the lanes that moved.

        Over the end of the epoch only the lanes are followed that were entered before the first look: at the end of an
        epoch a rank is given records from the lanes of others.
        """
        self._own = self._own or set(self._new)
        soon = []
        for lane in self._new:
            following = self._entered.get(lane, self._windows(lane) - 1) + 1
            if following < self._windows(lane):
                soon += self._shards(self._epoch, lane, following)
            elif lane in self._own:
                soon += self._shards(self._epoch + 1, lane, 0)
        self._new = []
        return self._distances(), soon

    def _distances(self) -> dict[int, int]:
        others = min(self._entered.values(), default=-1)  # lanes of other ranks are about as far
        found: dict[int, int] = {}
        for lane in range(self._lanes):
            now = self._entered.get(lane, others)
            for window in range(now + 1, self._windows(lane)):
                found |= dict.fromkeys(self._shards(self._epoch, lane, window), window - now)
        for lane in range(self._lanes):
            left = self._windows(lane) - self._entered.get(lane, others)
            for window in range(self._windows(lane)):
                for shard in self._shards(self._epoch + 1, lane, window):
                    found.setdefault(shard, left + window)
        return found

    def _windows(self, lane: int) -> int:
        shards = -(-(len(self._counts) - lane) // self._lanes)
        return -(-shards // self._window)

    def _shards(self, epoch: int, lane: int, window: int) -> list[int]:
        if epoch not in self._orders:
            self._orders = {known: order for known, order in self._orders.items() if abs(known - epoch) < 2}
            self._orders[epoch] = EpochOrder(
                self._counts, seed=self._seed, epoch=epoch, lanes=self._lanes, window=self._window
            )
        return self._orders[epoch].shards_of(lane, window)
