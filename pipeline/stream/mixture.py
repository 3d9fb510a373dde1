"""The order of an epoch of several data sets: a pure function of their counts, the weights, a seed and the epoch."""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import count
from typing import NamedTuple

from seqviews.pipeline.stream.order import EpochOrder, RecordLocation, permutation

BLOCK = 1024


class MixtureSchedule:
    """The number of records of each data set in the first positions of an epoch.

    The first set has the floor of its share of all positions, the second the floor of its share of the remaining ones,
    and so on; the last has the rest. So no count ever decreases, and each differs from `position * share` by less than
    the number of sets. The epoch is as long as the first set needs to occur exactly once.

    Args:
        sizes, weights: Number of records of each set, and its weight; by default the size, so that each occurs once.

    Raises:
        ValueError: If there is not one positive weight for each set.

    Example:
        >>> schedule = MixtureSchedule([700, 50], [0.7, 0.3])
        >>> len(schedule), schedule.counts(10), schedule.counts(1000)
        (1000, [7, 3], [700, 300])
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float] | None = None) -> None:
        weights = sizes if weights is None else weights
        if len(weights) != len(sizes) or not all(math.isfinite(weight) and weight > 0 for weight in weights):
            raise ValueError(f"weights are {list(weights)}, not {len(sizes)} numbers over 0, one for each data set")
        exact = [Fraction(str(weight)) for weight in weights]  # 0.7 means 7/10, as written
        self.shares = [weight / sum(exact) for weight in exact]
        self._of_rest = [weight / sum(exact[i:]) for i, weight in enumerate(exact)]
        self._length = math.ceil(sizes[0] / self.shares[0])

    def __len__(self) -> int:
        """Return the number of positions of an epoch."""
        return self._length

    def counts(self, positions: int) -> list[int]:
        """Return the number of records of each set in the first `positions` positions."""
        counts, rest = [], positions
        for share in self._of_rest:
            counts.append(rest * share.numerator // share.denominator)
            rest -= counts[-1]
        return counts


class MixedLocation(NamedTuple):
    """The location of a record: its data set, the epoch of this set's own order, and the location in that order."""

    dataset: int
    epoch: int
    location: RecordLocation


class MixedOrder:
    """The global sequence of an epoch of several data sets: `order[p]` is the record at position p.

    Position p is in block `p // 1024`. The schedule gives the number of records of each set in a block, a permutation
    their positions in it. Set d runs through its own epochs in the order that it has alone with the seed `seed + d`;
    each epoch of the mixture resumes where the last one ended. The first set's epochs are the mixture's, so the order
    of a single set is its `EpochOrder`.

    Nothing is materialised: a look-up costs a block and a window of a lane, which are kept until the next is needed.

    Args:
        counts: Number of records of each shard of each set.
        schedule: Number of records of each set in the first positions.
        seed, epoch, lanes, window: As for `EpochOrder`; a set with fewer shards than lanes has a lane for each.

    Example:
        >>> order = MixedOrder([[2, 2], [1]], MixtureSchedule([4, 1], [2, 1]), seed=0, epoch=0, lanes=2, window=1)
        >>> sorted((location.dataset, location.epoch) for location in order)
        [(0, 0), (0, 0), (0, 0), (0, 0), (1, 0), (1, 1)]
    """

    def __init__(
        self,
        counts: Sequence[Sequence[int]],
        schedule: MixtureSchedule,
        *,
        seed: int,
        epoch: int,
        lanes: int,
        window: int,
    ) -> None:
        self._counts, self._schedule, self._length = counts, schedule, len(schedule)
        self._seed, self._epoch, self._lanes, self._window = seed, epoch, lanes, window
        self._sizes = [sum(shards) for shards in counts]
        self._before = [epoch * total for total in schedule.counts(len(schedule))]
        self._block = -1
        self._dealt: list[tuple[int, int]] = []
        self._orders: dict[int, tuple[int, EpochOrder]] = {}

    def __len__(self) -> int:
        """The positions of the epoch."""
        return self._length

    def __iter__(self) -> Iterator[MixedLocation]:
        """Iterate over the records in order."""
        return map(self.__getitem__, range(self._length))

    def __getitem__(self, position: int) -> MixedLocation:
        """Return the record at a position. Raises `IndexError` if the position is not in `[0, len)`."""
        if not 0 <= position < self._length:
            raise IndexError(f"position {position} is not in an epoch of {self._length} records")
        number, inside = divmod(position, BLOCK)
        if self._block != number:
            self._block, self._dealt = number, self._deal(number)
        dataset, turn = self._dealt[inside]
        epoch, own = divmod(turn, self._sizes[dataset])
        return MixedLocation(dataset, epoch, self._order_of(dataset, epoch)[own])

    def shards_of(self, dataset: int, epoch: int, lane: int, window: int) -> list[int]:
        """Return the shards that a window of a lane mixes in an epoch of a set."""
        return self._order_of(dataset, epoch).shards_of(lane, window)

    def _deal(self, block: int) -> list[tuple[int, int]]:
        """Return the set at each position of a block and the number of its records before that since epoch 0."""
        start, stop = block * BLOCK, min((block + 1) * BLOCK, self._length)
        before, after = self._schedule.counts(start), self._schedule.counts(stop)
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
