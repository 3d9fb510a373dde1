"""Write shards of sources, over processes; stopped at any moment and started again, the bytes are the same."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from seqviews.pipeline.manifest import SPLITS, DatasetInfo, Features, Manifest, ShardEntry, Split
from seqviews.pipeline.prepare.target import Target, target_at
from seqviews.pipeline.records import Record
from seqviews.pipeline.shards.codec import encoder_versions
from seqviews.pipeline.shards.shard import pack_shard
from seqviews.pipeline.storage.folder import Folder

Records: TypeAlias = Callable[[str, np.random.Generator], Iterable[Record]]
Progress: TypeAlias = Callable[[Split, int, int], None]


class Preprocessor(Protocol):
    """A raw data set that can be cut into records. It is sent to other processes, so it must pickle."""

    @property
    def info(self) -> DatasetInfo:
        """What the data set is."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What decides its records, for the manifest; also what tells these raw files from others."""

    def sources(self, split: Split) -> Sequence[str]:
        """The names of a split's sources, in an order that never changes."""

    def records(self, source: str, rng: np.random.Generator) -> Iterable[Record]:
        """The records of a source; whatever is random in them is drawn from `rng`."""


def prepare(dataset: Preprocessor, out: Folder | Path | str, **options: Any) -> dict[Split, Manifest]:
    """Write every split of a data set below `out`; see `write_shards` for the options and for what is raised."""
    sources = {split: names for split in SPLITS if (names := dataset.sources(split))}
    return write_shards(sources, out, dataset.records, dataset.info, parameters=dataset.parameters, **options)


def write_shards(
    sources: Mapping[Split, Sequence[str]],
    url: Folder | Path | str,
    records: Records,
    info: DatasetInfo,
    *,
    parameters: Mapping[str, Any] | None = None,
    seed: int = 0,
    shard_sources: int = 50,
    workers: int = 1,
    progress: Progress = lambda split, done, total: None,
) -> dict[Split, Manifest]:
    """Write the records of sources into shards, a folder a split, each with a manifest, which comes last.

    The bytes depend on the arguments alone, not on the number of workers. A call that was ended at any moment goes on
    when it is made again: finished shards are kept as they are.

    Args:
        sources: Names of the sources by split. A source is what records are cut from: a character, a video file.
        url: A folder or a prefix in object storage: new, empty, or one that the same call began.
        records: Gives the records of a source; whatever is random in them is drawn from the generator it is given.
            With several workers it must pickle.
        info: What the data set is.
        parameters: What else decides the records, for the manifest. JSON.
        seed: Decides the order of the sources and what is random in their records.
        shard_sources: Whole sources in a shard.
        workers: Processes; 1 works in this one.
        progress: Called with the split, the sources written and all its sources, after every shard.

    Returns:
        The manifests.

    Raises:
        FileExistsError: If the folder holds something else, or what a call with other arguments began.
        BlockingIOError: If another process is writing to the folder. Into object storage several may write at a time.
        ValueError: If a record is not what `info` says, or a split has no source.
        OSError: If something cannot be written: no manifest, and the same call goes on when it can be.

    Example:
        >>> from tempfile import mkdtemp
        >>> from seqviews.pipeline.records import Clip
        >>> def records(source, rng):
        ...     yield Clip(source, rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8), {"kind": 0}, source)
        >>> info = DatasetInfo("noise", "CC0-1.0", "me", Features((8, 32, 32, 3)), {"kind": ["noise"]}, dynamic={})
        >>> manifests = write_shards({"train": ["a", "b", "c"]}, mkdtemp(), records, info, shard_sources=2)
        >>> len(manifests["train"]), [shard.records for shard in manifests["train"].shards]
        (3, [2, 1])
    """
    if shard_sources < 1 or workers < 1:
        raise ValueError("shard_sources and workers must be at least 1")
    if empty := [split for split, names in sources.items() if not names]:
        raise ValueError(f"no source is in {empty[0]}: leave the split out")
    target = target_at(url)
    shared = {"seed": seed, "shard_sources": shard_sources, **(parameters or {})}
    encoders = encoder_versions(info.features.codec)
    hashes = {split: sha256("\n".join(names).encode()).hexdigest() for split, names in sources.items()}
    claim = {"dataset": asdict(info), "parameters": shared, "encoders": encoders, "sources": hashes}
    plans = {split: _plan(split, names, seed, shard_sources) for split, names in sources.items()}
    entries: dict[str, ShardEntry] = {}
    manifests: dict[Split, Manifest] = {}
    written = dict.fromkeys(sources, 0)
    with target.claimed(claim), _writers(workers, _Work(target, records, info.features)) as run:
        for plan, entry in run([plan for of_split in plans.values() for plan in of_split]):
            split = plan.split
            entries[plan.name] = entry
            written[split] += len(plan.sources)
            progress(split, written[split], len(sources[split]))
            if written[split] == len(sources[split]):
                shards = tuple(entries[one.name] for one in plans[split])
                manifests[split] = Manifest(split, info, shared, encoders, shards)
                text = manifests[split].to_json()
                Manifest.from_json(text)  # what could not be read must not be written
                target.complete(split, text)
    return {split: manifests[split] for split in sources}


@dataclass(frozen=True, slots=True)
class _ShardPlan:
    """All that decides one shard's bytes."""

    split: Split
    name: str
    sources: tuple[tuple[str, tuple[int, int, int]], ...]  # name, seed of its random stream


def _plan(split: Split, sources: Sequence[str], seed: int, shard_sources: int) -> list[_ShardPlan]:
    number = SPLITS.index(split)
    # numpy takes the seeds (a, b) and (a, b, 0) for the same: the order has 0, source i has i + 1
    order = np.random.default_rng([seed, number, 0]).permutation(len(sources)).tolist()
    return [
        _ShardPlan(
            split,
            f"{split}-{start // shard_sources:06d}.tar",
            tuple((sources[i], (seed, number, i + 1)) for i in order[start : start + shard_sources]),
        )
        for start in range(0, len(order), shard_sources)
    ]


@dataclass(frozen=True, slots=True)
class _Work:
    """What a process needs to write shards."""

    target: Target
    records: Records
    features: Features

    def write(self, plan: _ShardPlan) -> tuple[_ShardPlan, ShardEntry]:
        """Write a shard, unless it is there."""
        entry = self.target.finished(plan.split, plan.name)
        if entry is None:
            entry, data = pack_shard(plan.name, self._records_of(plan), self.features)
            self.target.store(plan.split, entry, data)
        return plan, entry

    def _records_of(self, plan: _ShardPlan) -> Iterator[Record]:
        for name, seed in plan.sources:
            yield from self.records(name, np.random.default_rng(seed))


Run: TypeAlias = Callable[[Sequence[_ShardPlan]], Iterator[tuple[_ShardPlan, ShardEntry]]]


@contextmanager
def _writers(workers: int, work: _Work) -> Iterator[Run]:
    """Give a function that writes the shards of plans, in this process or in others, and yields them as they finish.

    When the block is left by an exception, an interrupt among them, the processes are ended at once.
    """
    if workers == 1:
        yield lambda plans: map(work.write, plans)
        return
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(work,))

    def run(plans: Sequence[_ShardPlan]) -> Iterator[tuple[_ShardPlan, ShardEntry]]:
        for future in as_completed([pool.submit(_write, plan) for plan in plans]):
            yield future.result()

    try:
        yield run
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_work: _Work


def _start(work: _Work) -> None:
    """Begin a worker: it leaves Ctrl-C to the process that started it, and ends when that one is gone."""
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _write(plan: _ShardPlan) -> tuple[_ShardPlan, ShardEntry]:
    return _work.write(plan)
