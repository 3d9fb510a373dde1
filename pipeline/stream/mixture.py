"""The order of an epoch of several data sets: a pure function of their counts, the weights, a seed and the epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import count
from typing import NamedTuple

from seqviews.pipeline.stream.order import EpochOrder, Place, permutation

BLOCK = 1024


class Shares:
    """How many records of each data set come in the first positions of an epoch, in whole numbers.

    The first set has the floor of its share of all positions, the second the floor of its share of those that are
    left, and so on; the last has the rest. So no count ever falls, and each stays within the number of sets of
    `position * share`. The epoch is as long as the first set needs to come exactly once.

    Args:
        sizes: Records of each set.
        weights: Of each set; by default its size, so that each comes exactly once.

    Raises:
        ValueError: If there is not one weight for each set, or one is not over 0.

    Example:
        >>> shares = Shares([700, 50], [0.7, 0.3])
        >>> len(shares), shares.counts(10), shares.counts(1000)
        (1000, [7, 3], [700, 300])
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float] | None = None) -> None:
        if weights is None:
            weights = sizes
        if len(weights) != len(sizes) or not all(math.isfinite(weight) and weight > 0 for weight in weights):
            raise ValueError(f"weights are {list(weights)}, not {len(sizes)} numbers over 0, one for each data set")
        exact = [Fraction(str(weight)) for weight in weights]  # 0.7 means 7/10, as it was written
        self.shares = [weight / sum(exact) for weight in exact]
        self._of_rest = [weight / sum(exact[i:]) for i, weight in enumerate(exact)]
        self._length = math.ceil(sizes[0] / self.shares[0])

    def __len__(self) -> int:
        """The positions of an epoch."""
        return self._length

    def counts(self, positions: int) -> list[int]:
        """The records of each set in the first `positions` positions."""
        counts, rest = [], positions
        for share in self._of_rest:
            counts.append(rest * share.numerator // share.denominator)
            rest -= counts[-1]
        return counts


class MixedPlace(NamedTuple):
    """Where a record is: its data set, the epoch of this set's own order, and the place in that order."""

    dataset: int
    epoch: int
    place: Place


class MixedOrder:
    """The global sequence of an epoch of several data sets: `order[p]` is the record at position p.

    Position p is of block `p // 1024`. How many records of each set are in a block, `Shares` says; which positions of
    the block they take is a permutation. The records of set d follow each other through its own epochs, in the order
    that it has alone with the seed `seed + d`; a mixture's epoch goes on where the one before ended. The first set's
    epochs are the mixture's. So of one set alone this is its `EpochOrder`.

    Nothing is materialised: a look-up costs a block, and a window of a lane, which are kept until the next is needed.

    Args:
        counts: Records of each shard of each set.
        shares: Of the sets.
        seed, epoch: Name the permutations; both at least 0.
        lanes: Shards of a set that are read side by side; a set that has fewer has a lane for each.
        window: How many shards of a lane are mixed.

    Example:
        >>> order = MixedOrder([[2, 2], [1]], Shares([4, 1], [2, 1]), seed=0, epoch=0, lanes=2, window=1)
        >>> sorted((place.dataset, place.epoch) for place in order)
        [(0, 0), (0, 0), (0, 0), (0, 0), (1, 0), (1, 1)]
    """

    def __init__(
        self, counts: Sequence[Sequence[int]], shares: Shares, *, seed: int, epoch: int, lanes: int, window: int
    ) -> None:
        self._counts, self._shares, self._length = counts, shares, len(shares)
        self._seed, self._epoch = seed, epoch
        self._lanes, self._window = lanes, window
        self._sizes = [sum(shards) for shards in counts]
        self._before = [epoch * total for total in shares.counts(len(shares))]
        self._block = -1
        self._dealt: list[tuple[int, int]] = []
        self._orders: dict[int, tuple[int, EpochOrder]] = {}

    def __len__(self) -> int:
        """The positions of the epoch."""
        return self._length

    def __iter__(self) -> Iterator[MixedPlace]:
        """The records in order."""
        return map(self.__getitem__, range(self._length))

    def __getitem__(self, position: int) -> MixedPlace:
        """The record at a position.

        Raises:
            IndexError: If the position is not in `[0, len)`.
        """
        if not 0 <= position < self._length:
            raise IndexError(f"position {position} is not in an epoch of {self._length} records")
        number, inside = divmod(position, BLOCK)
        if self._block != number:
            self._block, self._dealt = number, self._deal(number)
        dataset, turn = self._dealt[inside]
        epoch, own = divmod(turn, self._sizes[dataset])
        return MixedPlace(dataset, epoch, self._order_of(dataset, epoch)[own])

    def shards_of(self, dataset: int, epoch: int, lane: int, window: int) -> list[int]:
        """The shards that a window of a lane mixes in an epoch of a set."""
        return self._order_of(dataset, epoch).shards_of(lane, window)

    def _deal(self, block: int) -> list[tuple[int, int]]:
        """Of each position of a block: the set, and how many records of it came before, since epoch 0."""
        start, stop = block * BLOCK, min((block + 1) * BLOCK, self._length)
        before, after = self._shares.counts(start), self._shares.counts(stop)
        turns = [count(since + own) for since, own in zip(self._before, before, strict=True)]
        sets = [dataset for dataset in range(len(turns)) for _ in range(after[dataset] - before[dataset])]
        mixed = [sets[i] for i in permutation(len(sets), self._seed, self._epoch, block)]
        return [(dataset, next(turns[dataset])) for dataset in mixed]

    def _order_of(self, dataset: int, epoch: int) -> EpochOrder:
        known = self._orders.get(dataset)
        if known is None or known[0] != epoch:
            counts = self._counts[dataset]
            lanes = min(self._lanes, len(counts))
            order = EpochOrder(counts, seed=self._seed + dataset, epoch=epoch, lanes=lanes, window=self._window)
            known = self._orders[dataset] = (epoch, order)
        return known[1]
