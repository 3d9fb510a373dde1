"""SequenceStream: what a trainer iterates."""

import math
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeAlias, get_args

from torch import distributed
from torch.utils.data import IterableDataset, get_worker_info

from seqviews.pipeline.manifest import Features
from seqviews.pipeline.records import Batch
from seqviews.pipeline.shards.shard import Shard
from seqviews.pipeline.shards.strict_json import integer
from seqviews.pipeline.storage.folder import Folder
from seqviews.pipeline.stream.collate import StoredRecord, collate
from seqviews.pipeline.stream.lookahead import Lookahead
from seqviews.pipeline.stream.mixture import MixedLocation, MixedOrder, MixtureSchedule
from seqviews.pipeline.stream.order import Last, batch_count, batch_positions
from seqviews.pipeline.stream.recordset import RecordSet, check_agreement

PREFETCH = 4
STATE_VERSION = 2


class SequenceStream(IterableDataset[Batch]):
    """The batches of a split, every record once per epoch, in an order that depends only on the arguments.

    It is the loader: it has its own threads and its own state. `iter()` yields an epoch from its first batch, or from
    the batch that `load_state_dict` resumes at; after the last batch, the next `iter()` yields the next epoch. Every
    shard is checked against the manifest before its records are used.

    It can be copied and pickled, for example for `mp.spawn`: the copy resumes after the last batch that was received.

    Several data sets are mixed by weight. An epoch yields the first exactly once, and of the others as much as their
    weights require, each through its own epochs, which resume in the next epoch of the mixture.

    Args:
        data: A split's folder or URL, for example `sprites/train` or `s3://bucket/sprites/train`, or a `RecordSet`; or
            several of them.
        batch_size: Number of records of a global batch, over all ranks.
        weights: Weight of each data set; by default its size, so that each record occurs once per epoch.
        seed: Determines the order.
        lanes: Number of shards of a data set that are read in parallel; by default 8, or all if there are fewer.
        window: Number of shards of a lane that are mixed.
        rank, ranks: The part of every global batch to yield: every `ranks`-th record from the `rank`-th. By default
            those of the `torch.distributed` group, if one is up when the iteration starts, otherwise the whole batch.
        last: Whether to keep, drop, or pad a last batch that is not full, with records from the start of the epoch.
        factors: Names of the factors to decode; none by default.
        threads: Number of decoding threads; the batches do not depend on it.

    Attributes:
        manifest: The manifest of the first data set.

    Raises:
        ShardError: If a folder has no valid manifest; while iterating, if a shard contradicts it.
        TypeError: If a number is not an integer.
        ValueError: If an argument is out of range, a data set lacks a factor, data sets cannot be mixed, or the cache
            cannot hold the windows.
    """

    def __init__(
        self,
        data: Folder | Path | str | RecordSet | Sequence[Folder | Path | str | RecordSet],
        batch_size: int,
        *,
        weights: Sequence[float] | None = None,
        seed: int = 0,
        lanes: int | None = None,
        window: int = 4,
        rank: int | None = None,
        ranks: int | None = None,
        last: Last = "keep",
        factors: Sequence[str] = (),
        threads: int = 2,
    ) -> None:
        several = [data] if isinstance(data, (Folder, Path, str, RecordSet)) else data
        self.sets = [records if isinstance(records, RecordSet) else RecordSet(records) for records in several]
        check_agreement(self.sets, factors)
        self.manifest = self.sets[0].manifest
        self.schedule = MixtureSchedule([len(records) for records in self.sets], weights)
        shards = max(len(records.counts) for records in self.sets)
        self.batch_size, self.seed = integer("batch_size", batch_size), integer("seed", seed)
        self.lanes = min(8, shards) if lanes is None else integer("lanes", lanes)
        self.window, self.threads = integer("window", window), integer("threads", threads)
        self.rank = None if rank is None else integer("rank", rank)
        self.ranks = None if ranks is None else integer("ranks", ranks)
        self.last, self.factors = last, tuple(factors)
        self._check(shards)
        for records in self.sets:
            records.check_cache(self.lanes * self.window)
        self._classes = {name: self.manifest.factors[name] for name in self.factors}
        self.epoch = self._received = self._start = 0

    def _check(self, shards: int) -> None:
        if min(self.batch_size, self.window, self.threads) < 1 or self.seed < 0:
            raise ValueError("batch_size, window and threads must be at least 1, seed at least 0")
        if not 1 <= self.lanes <= shards:
            raise ValueError(f"lanes is {self.lanes}, but {self._named} has {shards} shards: choose from 1 to {shards}")
        self.part()
        if self.last not in get_args(Last):
            raise ValueError(f"last is {self.last!r}, not one of keep, drop, pad")
        if len(self) == 0:
            raise ValueError(f"{self._named} has {len(self.schedule)} records, not one batch of {self.batch_size}")

    def part(self) -> tuple[int, int]:
        """Return the rank and the number of ranks: as given, otherwise those of the group that is up.

        Raises:
            ValueError: If there is no such part of a batch.
        """
        grouped = distributed.is_available() and distributed.is_initialized()
        rank, ranks = (distributed.get_rank(), distributed.get_world_size()) if grouped else (0, 1)
        rank, ranks = rank if self.rank is None else self.rank, ranks if self.ranks is None else self.ranks
        if not 0 <= rank < ranks <= self.batch_size:
            raise ValueError(f"rank {rank} of {ranks} cannot share batches of {self.batch_size}")
        return rank, ranks

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, which resumes as from `state_dict`."""
        self.__dict__.update(state, _start=state["_received"])

    @property
    def _named(self) -> str:
        return " with ".join(str(records.folder) for records in self.sets)

    def __len__(self) -> int:
        """Return the number of global batches of an epoch."""
        return batch_count(len(self.schedule), self.batch_size, self.last)

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the batches of the current epoch.

        Warns if the last iteration was left early, as with Lightning's `limit_train_batches`, so that the same batches
        come again; docs/order.md has a recipe.

        Raises:
            RuntimeError: In a worker of a DataLoader, as each worker would yield every batch.
            ShardError: If a shard contradicts the manifest.
            ValueError: If the batches are too small for the group of processes.
        """
        if get_worker_info() is not None:
            raise RuntimeError("SequenceStream has its own threads: iterate it, or give DataLoader num_workers=0")
        start, self._start = self._start, 0
        if not start and self._received > 1:  # one batch is what a look at a stream takes
            left = f"epoch {self.epoch} of {self._named} was left after {self._received} of {len(self)} batches"
            warnings.warn(f"{left} and starts again with the same: use endless() to go on", stacklevel=2)
        return self._batches(self.epoch, start, *self.part())

    def _batches(self, epoch: int, start: int, rank: int, ranks: int) -> Iterator[Batch]:
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="seqviews")
        plan, features = _Plan(self, epoch, pool, rank, ranks), self.manifest.dataset.features
        pending: deque[Future[Batch]] = deque()
        try:
            for number in range(start, len(self) + PREFETCH):
                if number < len(self):
                    pending.append(pool.submit(_decode, plan.batch(number), features, self._classes, epoch))
                if number >= start + PREFETCH:
                    batch, received = pending.popleft().result(), number - PREFETCH + 1
                    self.epoch, self._received = (epoch, received) if received < len(self) else (epoch + 1, 0)
                    yield batch
        except BaseException:  # also when the caller stops early
            for records in self.sets:
                records.prefetcher.cancel()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def set_epoch(self, epoch: int) -> None:
        """Let the next `iter()` yield this epoch; a position in this epoch that was loaded from a state is kept."""
        if epoch != self.epoch:
            self.epoch, self._received, self._start = integer("epoch", epoch), 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the number of batches received in the current epoch, and all that determines the order."""
        return {**self._identity(), "epoch": self.epoch, "batches": self._received}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume after the last batch that was received when the state was saved; ranks and threads may differ.

        Raises:
            ValueError: If the state is of other records or another order.
        """
        mine = self._identity()
        differing = [name for name in mine if state.get(name) != mine[name]]
        if differing:
            differences = ", ".join(f"{name} {state.get(name)!r} instead of {mine[name]!r}" for name in differing)
            raise ValueError(f"the saved state is not of this stream of {self._named}: it has {differences}")
        self.epoch = integer("epoch", state["epoch"])
        self._start = self._received = integer("batches", state["batches"])

    def _identity(self) -> dict[str, Any]:
        data = {"manifests": [s.identity for s in self.sets], "shares": list(map(str, self.schedule.shares))}
        order = {"batch_size": self.batch_size, "seed": self.seed, "lanes": self.lanes, "window": self.window}
        return {"version": STATE_VERSION, **data, **order, "last": self.last}


_PendingRecord: TypeAlias = tuple[Future[Shard], int, int]
"""A record of a future batch: its shard, possibly still being read, its position there, and its index."""


def _decode(
    pending: Sequence[_PendingRecord], features: Features, classes: Mapping[str, list[str] | None], epoch: int
) -> Batch:
    records = (StoredRecord(row, shard.result(), *location) for row, (shard, *location) in enumerate(pending))
    return collate(records, len(pending), features, classes, epoch)


class _Plan:
    """The records of each batch, and their shards, read ahead; holds one window of shards for each lane of each set."""

    def __init__(self, stream: SequenceStream, epoch: int, pool: ThreadPoolExecutor, rank: int, ranks: int) -> None:
        self._sets, self._pool, self._last = stream.sets, pool, stream.last
        self._share = {"batch_size": stream.batch_size, "rank": rank, "ranks": ranks}
        counts = [records.counts for records in stream.sets]
        shape = {"lanes": stream.lanes, "window": stream.window}
        self._order = MixedOrder(counts, stream.schedule, seed=stream.seed, epoch=epoch, **shape)
        self._first_index = list(accumulate((len(records.manifest) for records in stream.sets), initial=0))
        self._held: dict[tuple[int, int], tuple[tuple[int, int], dict[int, Future[Shard]]]] = {}
        # of a single set, a rank reads only its own lanes
        if len(counts) > 1:
            rank, ranks = 0, 1
        self._ahead = {
            dataset: Lookahead(shards, seed=stream.seed + dataset, **shape, rank=rank, ranks=ranks)
            for dataset, shards in enumerate(counts)
            if stream.sets[dataset].folder.is_remote
        }

    def batch(self, number: int) -> list[_PendingRecord]:
        positions = batch_positions(number, records=len(self._order), last=self._last, **self._share)
        pending = [self._locate(self._order[position]) for position in positions]
        for dataset, ahead in self._ahead.items():
            if ahead.moved:
                self._prefetch(self._sets[dataset], ahead)
        return pending

    def _prefetch(self, records: RecordSet, ahead: Lookahead) -> None:
        numbers = {entry.sha256: number for number, entry in enumerate(records.shards)}
        records.prefetcher.prefetch(
            [records.shards[number] for number in ahead.soon()],
            lambda sha256: ahead.when(numbers[sha256]) if sha256 in numbers else math.inf,
        )

    def _locate(self, mixed: MixedLocation) -> _PendingRecord:
        dataset, epoch, location = mixed
        window = epoch, location.window
        held = self._held.get((dataset, location.lane))
        if held is None or held[0] != window:
            records = self._sets[dataset]
            numbers = self._order.shards_of(dataset, epoch, location.lane, location.window)
            if dataset in self._ahead:
                records.prefetcher.prefetch_now([records.shards[number] for number in numbers])
                self._ahead[dataset].enter(epoch, location.lane, location.window)
            held = window, {number: self._pool.submit(records.read, number) for number in numbers}
            self._held[dataset, location.lane] = held
        position, index = self._sets[dataset].find(location.shard, location.record)
        return held[1][location.shard], position, self._first_index[dataset] + index
