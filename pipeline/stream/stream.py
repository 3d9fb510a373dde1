"""SequenceStream: what a trainer iterates."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any, get_args

from torch.utils.data import IterableDataset, get_worker_info

from seqviews.pipeline.records import Batch
from seqviews.pipeline.shards.shard import Shard
from seqviews.pipeline.storage.folder import Folder
from seqviews.pipeline.stream.collate import Located, collate
from seqviews.pipeline.stream.lookahead import Lookahead
from seqviews.pipeline.stream.mixture import MixedOrder, MixedPlace, Shares
from seqviews.pipeline.stream.order import Last, batch_count, batch_positions
from seqviews.pipeline.stream.recordset import RecordSet, check_agreement

PREFETCH = 4
STATE_VERSION = 2


class SequenceStream(IterableDataset[Batch]):
    """The batches of a split, every record once an epoch, in an order that depends on nothing but the arguments.

    It is the loader: it has its own threads and its own state. `iter()` gives an epoch from its first batch on, or from
    where `load_state_dict` put it; when the last batch has been given, the next `iter()` gives the next epoch. Every
    shard is checked against the manifest before a record of it is used.

    Several data sets are mixed by weight. An epoch gives the first exactly once, and as much of the others as their
    weights say, each through its own epochs, going on in the next epoch where the one before ended.

    Args:
        data: A split's folder or URL, for example `sprites/train` or `s3://bucket/sprites/train`, or some of its
            records as a `RecordSet`; or several.
        batch_size: Records of a global batch, over all ranks.
        weights: How often each data set's records come; by default its size, so that each comes once an epoch.
        seed: Names the order.
        lanes: Shards of a data set read side by side, at most all; by default 8.
        window: Shards of a lane that are mixed.
        rank, ranks: Which part of every global batch to give: every `ranks`-th record from the `rank`-th.
        last: A last batch that is not full is kept, dropped, or padded with records from the start of the epoch.
        factors: Names of the factors to give; none are decoded by default.
        threads: Decoding threads; the batches do not depend on it.

    Attributes:
        manifest: Of the first data set: what the records look like.

    Raises:
        ShardError: If a folder has no valid manifest; while iterating, if a shard is not what the manifest says.
        ValueError: If an argument is out of its range, a data set has no such factor, data sets do not go together, or
            the cache cannot hold the windows.
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
        rank: int = 0,
        ranks: int = 1,
        last: Last = "keep",
        factors: Sequence[str] = (),
        threads: int = 2,
    ) -> None:
        several = [data] if isinstance(data, (Folder, Path, str, RecordSet)) else data
        self.sets = [one if isinstance(one, RecordSet) else RecordSet(one) for one in several]
        check_agreement(self.sets, factors)
        self.manifest = self.sets[0].manifest
        self.shares = Shares([len(one) for one in self.sets], weights)
        shards = max(len(one.counts) for one in self.sets)
        self.batch_size, self.seed, self.window, self.last = batch_size, seed, window, last
        self.lanes = min(8, shards) if lanes is None else lanes
        self.rank, self.ranks, self.factors, self.threads = rank, ranks, tuple(factors), threads
        self._check(shards)
        for one in self.sets:
            one.check_room(self.lanes * self.window)
        self._classes = {name: self.manifest.factors[name] for name in self.factors}
        self.epoch = 0
        self._received = 0
        self._start = 0

    def _check(self, shards: int) -> None:
        if min(self.batch_size, self.window, self.threads, self.ranks) < 1 or self.seed < 0:
            raise ValueError("batch_size, window, threads and ranks must be at least 1, seed at least 0")
        if not 1 <= self.lanes <= shards:
            raise ValueError(f"lanes is {self.lanes}, but {self._named} has {shards} shards: choose from 1 to {shards}")
        if not 0 <= self.rank < self.ranks <= self.batch_size:
            raise ValueError(f"rank {self.rank} of {self.ranks} cannot share batches of {self.batch_size}")
        if self.last not in get_args(Last):
            raise ValueError(f"last is {self.last!r}, not one of keep, drop, pad")
        if len(self) == 0:
            raise ValueError(f"{self._named} has {len(self.shares)} records, not one batch of {self.batch_size}")

    @property
    def _named(self) -> str:
        return " with ".join(str(one.folder) for one in self.sets)

    def __len__(self) -> int:
        """Global batches of an epoch."""
        return batch_count(len(self.shares), self.batch_size, self.last)

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
        plan, features = _Plan(self, epoch, pool), self.manifest.dataset.features
        pending: deque[Future[Batch]] = deque()
        try:
            for number in range(start, len(self) + PREFETCH):
                if number < len(self):
                    located = plan.batch(number)
                    pending.append(pool.submit(collate, located, features, self._classes, epoch))
                if number >= start + PREFETCH:
                    batch = pending.popleft().result()
                    self._mark_received(epoch, number - PREFETCH + 1)
                    yield batch
        except BaseException:  # also when the caller stops in the middle
            for one in self.sets:
                one.abandon()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _mark_received(self, epoch: int, received: int) -> None:
        finished = received == len(self)
        self.epoch = epoch + finished
        self._received = 0 if finished else received

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
            raise ValueError(f"the saved state is not of this stream of {self._named}: it has {told}")
        self.epoch = state["epoch"]
        self._start = self._received = state["batches"]

    def _identity(self) -> dict[str, Any]:
        data = {"manifests": [one.identity for one in self.sets], "shares": list(map(str, self.shares.shares))}
        order = {"batch_size": self.batch_size, "seed": self.seed, "lanes": self.lanes, "window": self.window}
        return {"version": STATE_VERSION, **data, **order, "last": self.last}


class _Plan:
    """Which records make a batch, and their shards, read ahead; holds the shards of one window a lane of each set."""

    def __init__(self, stream: SequenceStream, epoch: int, pool: ThreadPoolExecutor) -> None:
        self._stream, self._sets, self._pool = stream, stream.sets, pool
        counts = [one.counts for one in stream.sets]
        self._order = MixedOrder(
            counts, stream.shares, seed=stream.seed, epoch=epoch, lanes=stream.lanes, window=stream.window
        )
        self._first_index = list(accumulate((len(one.manifest) for one in stream.sets), initial=0))
        self._held: dict[tuple[int, int], tuple[tuple[int, int], dict[int, Future[Shard]]]] = {}
        # a rank's records of one set alone come from its own lanes
        rank, ranks = (stream.rank, stream.ranks) if len(counts) == 1 else (0, 1)
        self._ahead = {
            dataset: Lookahead(
                shards, seed=stream.seed + dataset, lanes=stream.lanes, window=stream.window, rank=rank, ranks=ranks
            )
            for dataset, shards in enumerate(counts)
            if stream.sets[dataset].is_remote
        }

    def batch(self, number: int) -> list[Located]:
        stream = self._stream
        positions = batch_positions(
            number,
            records=len(self._order),
            batch_size=stream.batch_size,
            last=stream.last,
            rank=stream.rank,
            ranks=stream.ranks,
        )
        located = [self._locate(self._order[position]) for position in positions]
        for dataset, ahead in self._ahead.items():
            if ahead.moved:
                self._sets[dataset].expect(ahead)
        return located

    def _locate(self, mixed: MixedPlace) -> Located:
        dataset, epoch, place = mixed
        window = epoch, place.window
        held = self._held.get((dataset, place.lane))
        if held is None or held[0] != window:
            one = self._sets[dataset]
            numbers = self._order.shards_of(dataset, epoch, place.lane, place.window)
            if dataset in self._ahead:
                one.demand(numbers)
                self._ahead[dataset].enter(epoch, place.lane, place.window)
            held = window, {shard: self._pool.submit(one.read, shard) for shard in numbers}
            self._held[dataset, place.lane] = held
        position, index = self._sets[dataset].find(place.shard, place.record)
        return Located(held[1][place.shard], position, self._first_index[dataset] + index)


def endless(stream: SequenceStream) -> Iterator[Batch]:
    """The batches of one epoch after another; `stream.state_dict()` says at any time how far the caller has come."""
    while True:
        yield from stream
