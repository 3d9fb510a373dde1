"""MadeStream: batches of records that are made when they are needed, not stored."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from seqviews.pipeline.manifest import DatasetInfo, Split
from seqviews.pipeline.records import Batch
from seqviews.pipeline.stream.batches import BatchStream, Plan
from seqviews.pipeline.stream.order import Last, batch_positions

STATE_VERSION = 1


class Maker(Protocol):
    """A `Preprocessor` of clips that cost less to make than to read."""

    @property
    def info(self) -> DatasetInfo:
        """The description of the data set."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Everything that decides the records, as JSON."""

    def sources(self, split: Split) -> Sequence[str]:
        """The names of a split's sources; an epoch has as many records as `train` has sources."""

    def make(
        self, seed: int, epoch: int, indices: Sequence[int]
    ) -> tuple[NDArray[np.uint8], Mapping[str, NDArray[np.generic]]]:
        """The records of the training split at some indices, each a pure function of seed, epoch and its index.

        Returns:
            uint8 `[B, T, H, W, C]`, and every factor: int64 `[B]` classes or float32 `[B, T, ...]` trajectories.
        """


class MadeStream(BatchStream):
    """Batches of records of a training split that are made anew: every epoch has other records than the one before.

    Record i of an epoch is a pure function of the seed, the epoch and i; it does not depend on its batch, the ranks or
    the threads. Batch k has the records from `k * batch_size` on, as they need no shuffling. Everything else is as in
    `SequenceStream`: the epochs, the parts of ranks, the state, copies.

    Args:
        maker: Makes the records.
        batch_size, seed, rank, ranks, last, factors, threads: As for `SequenceStream`.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If an argument is out of range, or there is no such factor.

    Example:
        >>> from seqviews.pipeline.datasets.digits import sklearn_digits
        >>> from seqviews.pipeline.datasets.smmnist import MovingDigits
        >>> stream = MadeStream(MovingDigits(sklearn_digits(), clips=(100, 0, 0), size=32), 64, factors=["digits"])
        >>> [(batch.keys[0], list(batch.x.shape)) for batch in stream]
        [('made-0-000000', [64, 15, 1, 32, 32]), ('made-0-000064', [36, 15, 1, 32, 32])]
    """

    def __init__(
        self,
        maker: Maker,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int | None = None,
        ranks: int | None = None,
        last: Last = "keep",
        factors: Sequence[str] = (),
        threads: int = 2,
    ) -> None:
        self.maker, self.info = maker, maker.info
        known = {**self.info.static, **self.info.dynamic}
        for name in factors:
            if name not in known:
                raise ValueError(f"{self.info.name} has no factor {name}: it has {', '.join(known)}")
        decisive = json.dumps([self.info.as_json(), maker.parameters], sort_keys=True)
        self._digest = hashlib.sha256(decisive.encode()).hexdigest()
        common: dict[str, Any] = {"rank": rank, "ranks": ranks, "last": last, "factors": factors, "threads": threads}
        super().__init__(f"made {self.info.name}", len(maker.sources("train")), batch_size, seed=seed, **common)

    def _plan(self, epoch: int, pool: ThreadPoolExecutor, rank: int, ranks: int) -> Plan:
        share: dict[str, Any] = {"batch_size": self.batch_size, "last": self.last, "rank": rank, "ranks": ranks}
        return lambda number: partial(self._make, epoch, batch_positions(number, records=self.records, **share))

    def _make(self, epoch: int, indices: list[int]) -> Batch:
        frames, factors = self.maker.make(self.seed, epoch, indices)
        return Batch(
            x=torch.from_numpy(frames).permute(0, 1, 4, 2, 3),
            keys=[f"made-{epoch}-{index:06d}" for index in indices],
            indices=torch.tensor(indices, dtype=torch.int64),
            epoch=epoch,
            factors={name: torch.from_numpy(factors[name]) for name in self.factors},
        )

    def _identity(self) -> dict[str, Any]:
        order = {"batch_size": self.batch_size, "seed": self.seed, "last": self.last}
        return {"version": STATE_VERSION, "made": self._digest, **order}
