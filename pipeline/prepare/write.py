"""Write the shards and manifests of a data set; an interrupted preparation resumes and ends with the same bytes.

>>> from tempfile import mkdtemp
>>> from seqviews.pipeline.records import Clip
>>> def records(source, rng):
...     yield Clip(source, rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8), {"kind": 0}, source)
>>> info = DatasetInfo("noise", "CC0-1.0", "me", Features((8, 32, 32, 3)), {"kind": ["noise"]}, dynamic={})
>>> manifests = write_shards({"train": ["a", "b", "c"]}, mkdtemp(), records, info, shard_sources=2)
>>> len(manifests["train"]), [shard.records for shard in manifests["train"].shards]
(3, [2, 1])
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from threadpoolctl import threadpool_limits

from seqviews.pipeline.features import Codec, Features
from seqviews.pipeline.manifest import SPLITS, DatasetInfo, Manifest, Split, check_record_bytes
from seqviews.pipeline.prepare.engines import Engine, WriteShard, Written, processes, this_process
from seqviews.pipeline.prepare.failures import BrokenSample, Failure, check_failures, failure_limit
from seqviews.pipeline.prepare.parts import Part
from seqviews.pipeline.prepare.plan import DatasetPlan, ShardPlan, plan_shards
from seqviews.pipeline.prepare.target import StoredShard, Target
from seqviews.pipeline.records import Progress, Record, silent
from seqviews.pipeline.shards.codec import encode_record
from seqviews.pipeline.shards.shard import pack_encoded
from seqviews.pipeline.shards.strict_json import integer
from seqviews.pipeline.storage.folder import Folder
from seqviews.pipeline.storage.urls import open_folder

Records: TypeAlias = Callable[[str, np.random.Generator], Iterable[Record | BrokenSample]]


class Preprocessor(Protocol):
    """A raw data set that can be cut into records. It is sent to other processes, so it must pickle."""

    @property
    def info(self) -> DatasetInfo:
        """The description of the data set."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Everything that decides the records, for the manifest; it also identifies the raw files."""

    def sources(self, split: Split) -> Sequence[str]:
        """The names of a split's sources, in a fixed order."""

    def records(self, source: str, rng: np.random.Generator) -> Iterable[Record | BrokenSample]:
        """The records of a source, and what is broken in it; all randomness in them is drawn from `rng`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How shards are written; unless a source fails, the bytes do not depend on it.

    Attributes:
        workers: Number of processes; 1 works in the calling process.
        engine: Where the shards are written instead, as a `RayEngine`.
        part: Write only this part of the shards, and no manifest; `finalize` does when all parts are written.
        max_failures: The number of sources that may fail, or a percentage of all, as `"0.1%"`. They are left out, with
            all of their records. With 0, what a source raises ends the call.
        retry: Sources that failed; their shards are written again.
        failed: Called with each source that is left out.

    Raises:
        ValueError: If `workers` is below 1.
    """

    workers: int = 1
    engine: Engine | None = None
    part: Part | None = None
    max_failures: int | str = 0
    retry: Collection[Failure] = ()
    failed: Callable[[Failure], None] = lambda failure: None

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError("workers must be at least 1")

    def start(self, write: WriteShard, plans: Sequence[ShardPlan]) -> Written:
        """Return the generator that writes the shards."""
        processes_or_this = this_process if self.workers == 1 else partial(processes, workers=self.workers)
        return (self.engine or processes_or_this)(write, plans)


def prepare(
    dataset: Preprocessor,
    out: Folder | Path | str,
    *,
    codec: Codec | None = None,
    quality: int | None = None,
    page_frames: int | None = None,
    **options: Any,
) -> dict[Split, Manifest]:
    """Write every split of a data set below `out`.

    `codec`, `quality` and `page_frames` are those of `Features.stored`; `write_shards` documents the other options and
    the exceptions.
    """
    info = replace(dataset.info, features=dataset.info.features.stored(codec, quality, page_frames))
    sources = {split: names for split in SPLITS if (names := dataset.sources(split))}
    return write_shards(sources, out, dataset.records, info, parameters=dataset.parameters, **options)


def write_shards(
    sources: Mapping[Split, Sequence[str]],
    url: Folder | Path | str,
    records: Records,
    info: DatasetInfo,
    *,
    parameters: Mapping[str, Any] | None = None,
    seed: int = 0,
    shard_sources: int = 50,
    progress: Progress = silent,
    **execution: Any,
) -> dict[Split, Manifest]:
    """Write the records of sources into shards, one folder per split, each with a manifest, which is written last.

    The bytes do not depend on the number of workers or parts. An interrupted call resumes when it is repeated: finished
    shards are kept as they are. Returns the manifests; of a part, those of its shards alone, which are not written.
    With one worker, this process computes on one thread meanwhile: call it from one thread at a time.

    Args:
        sources: Names of the sources by split. Records are cut from a source: a character, a video file.
        url: A folder or a prefix in object storage: new, empty, or started by the same call.
        records: Returns the records of a source, drawing all randomness from the generator. For workers it must pickle.
        info: The description of the data set.
        parameters: Everything else that decides the records, for the manifest, as JSON.
        seed: Decides the order of the sources and all randomness in the records.
        shard_sources: Whole sources per shard.
        progress: Called after every shard with the split, the sources written and all sources of the split.
        execution: The attributes of `Execution`: workers, engine, part, max_failures, retry, failed.

    Raises:
        FileExistsError: If the folder holds other data, or a preparation with other arguments.
        BlockingIOError: If another process is writing to the folder, unless both write parts. Several may write to
            object storage at a time.
        ValueError: If a record does not match `info`, a split has no source, or more sources fail than `max_failures`.
        OSError: If a file cannot be written: no manifest is written then, and the same call resumes later.
    """
    seed, shard_sources = integer("seed", seed), integer("shard_sources", shard_sources)
    how = Execution(**execution)
    if shard_sources < 1:
        raise ValueError("shard_sources must be at least 1")
    if empty := [split for split, names in sources.items() if not names]:
        raise ValueError(f"the split {empty[0]} has no source: leave it out")
    check_record_bytes(info.features)
    retry = _sources_of(how.retry, sources)
    plan = DatasetPlan.of(sources, info, {"seed": seed, "shard_sources": shard_sources, **(parameters or {})})
    limit = failure_limit(how.max_failures, plan.units)
    target, part = Target(open_folder(url).for_writing(), plan), str(how.part or "")
    write = _ShardWriter(target, records, info.features, limit, retry, part)
    shards = chain.from_iterable(plan_shards(split, names, seed, shard_sources) for split, names in sources.items())
    todo = [shard for k, shard in enumerate(shards) if how.part is None or how.part.has(k)]
    engine = how.start(write, todo)
    target.claim()
    manifests: dict[Split, Manifest] = {split: plan.manifest(split, (), 0) for split in sources}
    with target.alone() if how.part is None else nullcontext(), closing(engine) as written:
        for split, stored in _complete_splits(_counted(written, limit, how.failed), todo, progress):
            if how.part is None:
                manifests[split] = target.complete(split, stored, replace=bool(retry))
            else:
                failures = sum(len(shard.failures) for shard in stored)
                manifests[split] = plan.manifest(split, [shard.entry for shard in stored], failures)
        if how.part is None:
            target.describe(manifests)
    return manifests


def _sources_of(failures: Collection[Failure], sources: Mapping[Split, Sequence[str]]) -> frozenset[tuple[Split, str]]:
    """Return the sources that failed. Raises `ValueError` if the data set lacks one."""
    wanted = {(failure.split, failure.source) for failure in failures}
    known = {(split, name) for split, names in sources.items() for name in names} if wanted else set()
    if unknown := sorted(wanted - known):
        raise ValueError(f"the failure to retry, {unknown[0][1]} of {unknown[0][0]}, is of no source of this data set")
    return frozenset(wanted)


def _counted(written: Written, limit: int, failed: Callable[[Failure], None]) -> Written:
    """Report what is left out of each shard, until it is too much."""
    failures: list[Failure] = []
    for shard, stored in written:
        for failure in stored.failures:
            failures.append(failure)
            failed(failure)
        check_failures(failures, limit)
        yield shard, stored


def _complete_splits(
    written: Written, todo: Sequence[ShardPlan], progress: Progress
) -> Iterator[tuple[Split, list[StoredShard]]]:
    """Receive shards as they are finished, and yield the shards of each split that is complete, in order."""
    names: dict[Split, list[str]] = {}
    total: dict[Split, int] = {}
    for shard in todo:
        names.setdefault(shard.split, []).append(shard.name)
        total[shard.split] = total.get(shard.split, 0) + len(shard.sources)
    done = dict.fromkeys(names, 0)
    finished: dict[str, StoredShard] = {}
    for shard, stored in written:
        finished[shard.name] = stored
        done[shard.split] += len(shard.sources)
        progress(shard.split, done[shard.split], total[shard.split])
        if done[shard.split] == total[shard.split]:
            yield shard.split, [finished[name] for name in names[shard.split]]


@dataclass(frozen=True, slots=True)
class _ShardWriter:
    """Writes shards to a target; an engine sends it to its processes."""

    target: Target
    records: Records
    features: Features
    limit: int
    retry: frozenset[tuple[Split, str]]
    part: str

    def __call__(self, plan: ShardPlan) -> StoredShard:
        """Write a shard, unless it is already finished and has no source to retry."""
        again = any((plan.split, name) in self.retry for name, _ in plan.sources) if self.retry else False
        stored = None if again else self.target.finished(plan.split, plan.name)
        if stored is None:
            failures: list[Failure] = []
            # more threads of a product would compete with the other writers, and sum in another order
            with threadpool_limits(1):
                entry, data = pack_encoded(plan.name, self._encoded(plan, failures))
            check_failures(failures, self.limit)  # what has a common cause, as a disk that is gone, must not be stored
            shard = StoredShard(entry, tuple(failures), self.part)
            stored = self.target.store(plan.split, shard, data, replace=again)
        return stored

    def _encoded(self, plan: ShardPlan, failures: list[Failure]) -> Iterator[tuple[str, Mapping[str, bytes]]]:
        """Yield the keys and members of the records; of a source that fails, if that is accepted, none."""
        for name, seed in plan.sources:
            broken, encoded = list[Failure](), list[tuple[str, Mapping[str, bytes]]]()
            try:
                for record in self.records(name, np.random.default_rng(seed)):
                    if isinstance(record, BrokenSample):
                        broken.append(record.failure(plan.split, plan.name, name))
                    else:
                        encoded.append((record.key, encode_record(record, self.features)))
            except Exception as error:
                if not self.limit:
                    raise
                failures.append(Failure.of(plan.split, plan.name, name, error))
            else:
                failures += broken
                yield from encoded
