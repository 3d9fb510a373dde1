"""BatchStream: what every stream of batches has in common: epochs, threads, ranks, and a state that resumes exactly."""

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias, get_args

from torch import distributed
from torch.utils.data import IterableDataset, get_worker_info

from seqviews.pipeline.manifest import DatasetInfo
from seqviews.pipeline.records import Batch
from seqviews.pipeline.shards.strict_json import integer
from seqviews.pipeline.stream.order import Last, batch_count

PREFETCH = 4

Plan: TypeAlias = Callable[[int], Callable[[], Batch]]
"""Called with the number of each batch of an epoch, in order; what it returns makes the batch, in another thread."""


class BatchStream(IterableDataset[Batch]):
    """The batches of one epoch after another, which depend only on the arguments.

    It is the loader: it has its own threads and its own state. `iter()` yields an epoch from its first batch, or from
    the batch that `load_state_dict` resumes at; after the last batch, the next `iter()` yields the next epoch.

    It can be copied and pickled, for example for `mp.spawn`: the copy resumes after the last batch that was received.

    A subclass plans the batches of an epoch, and says what they depend on.

    Args:
        name: Names the records in messages.
        records: Number of records of an epoch.
        batch_size: Number of records of a global batch, over all ranks.
        seed: At least 0.
        rank, ranks: The part of every global batch to yield: every `ranks`-th record from the `rank`-th. By default
            those of the `torch.distributed` group, if one is up when the iteration starts, otherwise the whole batch.
        last: Whether to keep, drop, or pad a last batch that is not full, with records from the start of the epoch.
        factors: Names of the factors that batches have.
        threads: Number of threads that make batches; the batches do not depend on it.

    Attributes:
        info: Describes the records of the batches.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If an argument is out of range.
    """

    info: DatasetInfo

    def __init__(
        self,
        name: str,
        records: int,
        batch_size: int,
        *,
        seed: int,
        rank: int | None,
        ranks: int | None,
        last: Last,
        factors: Sequence[str],
        threads: int,
    ) -> None:
        self.name, self.records = name, records
        self.batch_size, self.seed = integer("batch_size", batch_size), integer("seed", seed)
        self.threads = integer("threads", threads)
        self.rank = None if rank is None else integer("rank", rank)
        self.ranks = None if ranks is None else integer("ranks", ranks)
        self.last, self.factors = last, tuple(factors)
        if min(self.batch_size, self.threads) < 1 or self.seed < 0:
            raise ValueError("batch_size and threads must be at least 1, seed at least 0")
        self.part()
        if last not in get_args(Last):
            raise ValueError(f"last is {last!r}, not one of keep, drop, pad")
        if len(self) == 0:
            raise ValueError(f"{name} has {records} records, not one batch of {self.batch_size}")
        self.epoch = self._received = self._start = 0

    def _plan(self, epoch: int, pool: ThreadPoolExecutor, rank: int, ranks: int) -> Plan:
        """Plan the batches of an epoch."""
        raise NotImplementedError

    def _cancel(self) -> None:
        """Stop what the plan has going on, as the iteration ends early."""

    def _identity(self) -> dict[str, Any]:
        """All that the batches depend on but the epoch, as JSON."""
        raise NotImplementedError

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

    def __len__(self) -> int:
        """Return the number of global batches of an epoch."""
        return batch_count(self.records, self.batch_size, self.last)

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
            raise RuntimeError(
                f"{type(self).__name__} has its own threads: iterate it, or give DataLoader num_workers=0"
            )
        start, self._start = self._start, 0
        if not start and self._received > 1:  # one batch is what a look at a stream takes
            left = f"epoch {self.epoch} of {self.name} was left after {self._received} of {len(self)} batches"
            warnings.warn(f"{left} and starts again with the same: use endless() to continue", stacklevel=2)
        return self._batches(self.epoch, start, *self.part())

    def _batches(self, epoch: int, start: int, rank: int, ranks: int) -> Iterator[Batch]:
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="seqviews")
        plan = self._plan(epoch, pool, rank, ranks)
        pending: deque[Future[Batch]] = deque()
        try:
            for number in range(start, len(self) + PREFETCH):
                if number < len(self):
                    pending.append(pool.submit(plan(number)))
                if number >= start + PREFETCH:
                    batch, received = pending.popleft().result(), number - PREFETCH + 1
                    self.epoch, self._received = (epoch, received) if received < len(self) else (epoch + 1, 0)
                    yield batch
        except BaseException:  # also when the caller stops early
            self._cancel()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def set_epoch(self, epoch: int) -> None:
        """Let the next `iter()` yield this epoch; a position in this epoch that was loaded from a state is kept."""
        if epoch != self.epoch:
            self.epoch, self._received, self._start = integer("epoch", epoch), 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the number of batches received in the current epoch, and all that determines the batches."""
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
            raise ValueError(f"the saved state is not of this stream of {self.name}: it has {differences}")
        self.epoch = integer("epoch", state["epoch"])
        self._start = self._received = integer("batches", state["batches"])
