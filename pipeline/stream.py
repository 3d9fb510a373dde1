"""SequenceStream: what a trainer iterates."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from seqviews.pipeline.manifest import load_manifest
from seqviews.pipeline.order import EpochOrder, Last, Place, batch_count, batch_positions
from seqviews.pipeline.records import Batch, ShardError
from seqviews.pipeline.shards import Shard, read_shard

PREFETCH = 4
STATE_VERSION = 1


class SequenceStream(IterableDataset[Batch]):
    """The batches of a split, every record once an epoch, in an order that depends on nothing but the arguments.

    It is the loader: it has its own threads and its own state. `iter()` gives an epoch from its first batch on, or from
    where `load_state_dict` put it; when the last batch has been given, the next `iter()` gives the next epoch. Every
    shard is checked against the manifest before a record of it is used.

    Args:
        folder: A split's folder, for example `sprites/train`.
        batch_size: Records of a global batch, over all ranks.
        seed: Names the order.
        lanes: Shards read side by side; by default 8, or all if there are fewer.
        window: Shards of a lane that are mixed.
        rank, ranks: Which part of every global batch to give: every `ranks`-th record from the `rank`-th.
        last: A last batch that is not full is kept, dropped, or padded with records from the start of the epoch.
        factors: Names of the factors to give; none are decoded by default.
        threads: Decoding threads; the batches do not depend on it.

    Raises:
        ShardError: If the folder has no valid manifest; while iterating, if a shard is not what the manifest says.
        ValueError: If an argument is out of its range, or the data set has no such factor.
    """

    def __init__(
        self,
        folder: Path | str,
        batch_size: int,
        *,
        seed: int = 0,
        lanes: int | None = None,
        window: int = 4,
        rank: int = 0,
        ranks: int = 1,
        last: Last = "keep",
        factors: Sequence[str] = (),
        threads: int = 2,
    ) -> None:
        self.folder = Path(folder)
        self.manifest = load_manifest(folder)
        shards = len(self.manifest.shards)
        self.batch_size, self.seed, self.window, self.last = batch_size, seed, window, last
        self.lanes = min(8, shards) if lanes is None else lanes
        self.rank, self.ranks, self.factors, self.threads = rank, ranks, tuple(factors), threads
        self._check(shards)
        self._counts = [shard.records for shard in self.manifest.shards]
        self._first_index = list(accumulate(self._counts, initial=0))
        self.epoch = 0
        self._received = 0
        self._start = 0

    def _check(self, shards: int) -> None:
        if min(self.batch_size, self.window, self.threads, self.ranks) < 1 or self.seed < 0:
            raise ValueError("batch_size, window, threads and ranks must be at least 1, seed at least 0")
        if not 1 <= self.lanes <= shards:
            raise ValueError(f"lanes is {self.lanes}, but {self.folder} has {shards} shards: choose from 1 to {shards}")
        if not 0 <= self.rank < self.ranks <= self.batch_size:
            raise ValueError(f"rank {self.rank} of {self.ranks} cannot share batches of {self.batch_size}")
        if self.last not in get_args(Last):
            raise ValueError(f"last is {self.last!r}, not one of keep, drop, pad")
        if len(self) == 0:
            raise ValueError(f"{self.folder} has {len(self.manifest)} records, not one batch of {self.batch_size}")
        for name in self.factors:
            if name not in self.manifest.factors:
                known = ", ".join(self.manifest.factors)
                raise ValueError(f"{self.folder} has no factor {name}: it has {known}")

    def __len__(self) -> int:
        """Global batches of an epoch."""
        return batch_count(len(self.manifest), self.batch_size, self.last)

    def __iter__(self) -> Iterator[Batch]:
        """The batches of the current epoch.

        Raises:
            RuntimeError: If a DataLoader with workers asks: each worker would give every batch.
            ShardError: If a shard is not what the manifest says.
        """
        if get_worker_info() is not None:
            raise RuntimeError("SequenceStream has its own threads: iterate it, or give DataLoader num_workers=0")
        start, self._start = self._start, 0
        return self._batches(self.epoch, start)

    def _batches(self, epoch: int, start: int) -> Iterator[Batch]:
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="seqviews")
        plan = _Plan(self, epoch, pool)
        pending: deque[Future[Batch]] = deque()
        try:
            for number in range(start, len(self) + PREFETCH):
                if number < len(self):
                    pending.append(pool.submit(self._decode, epoch, plan.batch(number)))
                if number >= start + PREFETCH:
                    batch = pending.popleft().result()
                    self._mark_received(epoch, number - PREFETCH + 1)
                    yield batch
        finally:
            pool.shutdown(cancel_futures=True)

    def _mark_received(self, epoch: int, received: int) -> None:
        finished = received == len(self)
        self.epoch = epoch + finished
        self._received = 0 if finished else received

    def _decode(self, epoch: int, records: list[tuple[Place, Future[Shard]]]) -> Batch:
        shape = self.manifest.dataset.features.shape
        frames = np.empty((len(records), *shape), np.uint8)
        keys, factors = [], []
        for out, (place, shard) in zip(frames, records, strict=True):
            keys.append(shard.result().decode(place.record, out))
            if self.factors:
                factors.append(shard.result().factors(place.record))
        return Batch(
            x=torch.from_numpy(frames).permute(0, 1, 4, 2, 3),
            keys=keys,
            indices=torch.tensor([self._first_index[place.shard] + place.record for place, _ in records]),
            epoch=epoch,
            factors={name: self._factor(name, factors, keys) for name in self.factors},
        )

    def _factor(self, name: str, factors: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> torch.Tensor:
        classes = self.manifest.factors[name]
        values = [record.get(name) for record in factors]
        if classes is None:
            try:
                return torch.from_numpy(np.array(values, np.float32))
            except (ValueError, TypeError):
                raise ShardError(f"{self.folder}: {name} of {keys[0]} and others is not a trajectory") from None
        for value, key in zip(values, keys, strict=True):
            if type(value) is not int or not 0 <= value < len(classes):
                raise ShardError(
                    f"{self.folder}: {name} of {key} is {value!r}, not a class from 0 to {len(classes) - 1}"
                )
        return torch.tensor(values)

    def set_epoch(self, epoch: int) -> None:
        """Let the next `iter()` give this epoch; a place inside it, loaded from a state, is kept."""
        if epoch != self.epoch:
            self.epoch, self._received, self._start = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Where the caller is: the batches it has received of an epoch, and all that decides the order."""
        return {**self._identity(), "epoch": self.epoch, "batches": self._received}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on behind the last batch that was received when the state was saved; ranks and threads may differ.

        Raises:
            ValueError: If the state is of other records, or of another order of them.
        """
        mine = self._identity()
        differing = [name for name in mine if state.get(name) != mine[name]]
        if differing:
            told = ", ".join(f"{name} {state.get(name)!r} instead of {mine[name]!r}" for name in differing)
            raise ValueError(f"the saved state is not of this stream of {self.folder}: it has {told}")
        self.epoch = state["epoch"]
        self._start = self._received = state["batches"]

    def _identity(self) -> dict[str, Any]:
        order = {"batch_size": self.batch_size, "seed": self.seed, "lanes": self.lanes, "window": self.window}
        return {"version": STATE_VERSION, "manifest": self.manifest.digest, **order, "last": self.last}


class _Plan:
    """Which records make a batch, and their shards, read ahead; holds the shards of one window a lane."""

    def __init__(self, stream: SequenceStream, epoch: int, pool: ThreadPoolExecutor) -> None:
        self._stream, self._pool = stream, pool
        self._order = EpochOrder(
            stream._counts, seed=stream.seed, epoch=epoch, lanes=stream.lanes, window=stream.window
        )
        self._held: dict[int, tuple[int, dict[int, Future[Shard]]]] = {}

    def batch(self, number: int) -> list[tuple[Place, Future[Shard]]]:
        stream = self._stream
        positions = batch_positions(
            number,
            records=len(self._order),
            batch_size=stream.batch_size,
            last=stream.last,
            rank=stream.rank,
            ranks=stream.ranks,
        )
        places = [self._order[position] for position in positions]
        return [(place, self._shard(place)) for place in places]

    def _shard(self, place: Place) -> Future[Shard]:
        window, shards = self._held.get(place.lane, (-1, {}))
        if window != place.window:
            manifest = self._stream.manifest
            shards = {
                shard: self._pool.submit(
                    read_shard, self._stream.folder, manifest.shards[shard], manifest.dataset.features
                )
                for shard in self._order.shards_of(place.lane, place.window)
            }
            self._held[place.lane] = (place.window, shards)
        return shards[place.shard]
