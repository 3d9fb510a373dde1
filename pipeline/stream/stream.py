"""SequenceStream: what a trainer iterates."""

import logging
import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeAlias

from seqviews.pipeline.records import Batch
from seqviews.pipeline.shard_table import ShardNumbers
from seqviews.pipeline.shards.shard import Shard
from seqviews.pipeline.shards.strict_json import integer
from seqviews.pipeline.storage.folder import Folder
from seqviews.pipeline.stream.batches import BatchStream, Plan
from seqviews.pipeline.stream.collate import StoredRecord, collate
from seqviews.pipeline.stream.excerpt import Excerpt
from seqviews.pipeline.stream.lookahead import Lookahead
from seqviews.pipeline.stream.mixture import MixedLocation, MixedOrder, MixtureSchedule
from seqviews.pipeline.stream.order import Last, batch_positions
from seqviews.pipeline.stream.recordset import RecordSet, check_agreement

STATE_VERSION = 2
logger = logging.getLogger("seqviews")


_PendingRecord: TypeAlias = tuple[Future[Shard], int, int, int]
"""A record of a future batch: its shard, possibly still being read, its position there, index, and which excerpt."""


class SequenceStream(BatchStream):
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
        excerpt: Which frames of each record a batch holds; by default all, padded if records differ in length. Records
            that are shorter are skipped, with a warning; finding them reads every shard once, here.

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
        excerpt: Excerpt | None = None,
    ) -> None:
        several = data if isinstance(data, Sequence) and not isinstance(data, str) else [data]
        self.sets = [records if isinstance(records, RecordSet) else RecordSet(records) for records in several]
        check_agreement(self.sets, factors, excerpt)
        self.excerpt = excerpt
        if excerpt is not None:
            self.sets = [records.in_excerpts(excerpt) for records in self.sets]
            for records in self.sets:
                if records.skipped:
                    reason = f"records are shorter than the {excerpt.span} frames of an excerpt: they are skipped"
                    logger.warning("%s: %d %s", records.folder, records.skipped, reason)
        self.manifest = self.sets[0].manifest
        self.info = self.manifest.dataset if excerpt is None else excerpt.described(self.manifest.dataset)
        self.schedule = MixtureSchedule([len(records) for records in self.sets], weights)
        shards = max(len(records.counts) for records in self.sets)
        self.lanes = min(8, shards) if lanes is None else integer("lanes", lanes)
        self.window = integer("window", window)
        name = " with ".join(str(records.folder) for records in self.sets)
        if self.window < 1:
            raise ValueError("window must be at least 1")
        if not 1 <= self.lanes <= shards:
            raise ValueError(f"lanes is {self.lanes}, but {name} has {shards} shards: choose from 1 to {shards}")
        common: dict[str, Any] = {"rank": rank, "ranks": ranks, "last": last, "factors": factors, "threads": threads}
        super().__init__(name, len(self.schedule), batch_size, seed=seed, **common)
        for records in self.sets:
            records.check_cache(self.lanes * self.window)
        self._classes = {name: self.manifest.factors[name] for name in self.factors}

    def _plan(self, epoch: int, pool: ThreadPoolExecutor, rank: int, ranks: int) -> Plan:
        plan = _Plan(self, epoch, pool, rank, ranks)
        return lambda number: partial(self._decode, plan.batch(number), epoch)

    def _decode(self, pending: Sequence[_PendingRecord], epoch: int) -> Batch:
        records = (StoredRecord(row, shard.result(), *location) for row, (shard, *location) in enumerate(pending))
        features = self.manifest.dataset.features
        return collate(records, len(pending), features, self._classes, epoch, self.excerpt, self.seed)

    def _cancel(self) -> None:
        for records in self.sets:
            records.prefetcher.cancel()

    def _identity(self) -> dict[str, Any]:
        data = {"manifests": [s.identity for s in self.sets], "shares": list(map(str, self.schedule.shares))}
        order = {"batch_size": self.batch_size, "seed": self.seed, "lanes": self.lanes, "window": self.window}
        excerpt = None if self.excerpt is None else asdict(self.excerpt)
        return {"version": STATE_VERSION, **data, **order, "last": self.last, "excerpt": excerpt}


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
        self._numbers = {dataset: ShardNumbers(stream.sets[dataset].shards) for dataset in self._ahead}

    def batch(self, number: int) -> list[_PendingRecord]:
        positions = batch_positions(number, records=len(self._order), last=self._last, **self._share)
        pending = [self._locate(self._order[position]) for position in positions]
        for dataset, ahead in self._ahead.items():
            if ahead.moved:
                self._prefetch(self._sets[dataset], ahead, self._numbers[dataset])
        return pending

    def _prefetch(self, records: RecordSet, ahead: Lookahead, numbers: ShardNumbers) -> None:
        def windows_until(sha256: str) -> float:
            number = numbers.find(sha256)
            return math.inf if number is None else ahead.when(number)

        records.prefetcher.prefetch([records.shards[number] for number in ahead.soon()], windows_until)

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
        position, index, number = self._sets[dataset].find(location.shard, location.record)
        return held[1][location.shard], position, self._first_index[dataset] + index, number
