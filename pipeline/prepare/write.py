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

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from seqviews.pipeline.features import Codec, Features
from seqviews.pipeline.manifest import SPLITS, DatasetInfo, Manifest, ShardEntry, Split, check_record_bytes
from seqviews.pipeline.prepare.engines import Written, processes
from seqviews.pipeline.prepare.plan import ShardPlan, plan_shards
from seqviews.pipeline.prepare.target import Target
from seqviews.pipeline.records import Progress, Record, silent
from seqviews.pipeline.shards.codec import encoder_versions
from seqviews.pipeline.shards.shard import pack_shard
from seqviews.pipeline.shards.strict_json import integer
from seqviews.pipeline.storage.folder import Folder
from seqviews.pipeline.storage.urls import open_folder

Records: TypeAlias = Callable[[str, np.random.Generator], Iterable[Record]]


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

    def records(self, source: str, rng: np.random.Generator) -> Iterable[Record]:
        """The records of a source; all randomness in them is drawn from `rng`."""


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
    workers: int = 1,
    progress: Progress = silent,
) -> dict[Split, Manifest]:
    """Write the records of sources into shards, one folder per split, each with a manifest, which is written last.

    The bytes do not depend on the number of workers. An interrupted call resumes when it is repeated: finished shards
    are kept as they are. Returns the manifests.

    Args:
        sources: Names of the sources by split. Records are cut from a source: a character, a video file.
        url: A folder or a prefix in object storage: new, empty, or started by the same call.
        records: Returns the records of a source, drawing all randomness from the generator. For workers it must pickle.
        info: The description of the data set.
        parameters: Everything else that decides the records, for the manifest, as JSON.
        seed: Decides the order of the sources and all randomness in the records.
        shard_sources: Whole sources per shard.
        workers: Number of processes; 1 works in the calling process.
        progress: Called after every shard with the split, the sources written and all sources of the split.

    Raises:
        FileExistsError: If the folder holds other data, or a preparation with other arguments.
        BlockingIOError: If another process is writing to the folder. Several may write to object storage at a time.
        ValueError: If a record does not match `info`, or a split has no source.
        OSError: If a file cannot be written: no manifest is written then, and the same call resumes later.
    """
    seed, shard_sources = integer("seed", seed), integer("shard_sources", shard_sources)
    if shard_sources < 1 or workers < 1:
        raise ValueError("shard_sources and workers must be at least 1")
    if empty := [split for split, names in sources.items() if not names]:
        raise ValueError(f"the split {empty[0]} has no source: leave it out")
    check_record_bytes(info.features)
    write = _ShardWriter(Target(open_folder(url).for_writing()), records, info.features)
    shared = {"seed": seed, "shard_sources": shard_sources, **(parameters or {})}
    encoders = encoder_versions(info.features.codec)
    hashes = {split: sha256("\n".join(names).encode()).hexdigest() for split, names in sources.items()}
    claim = {"dataset": info.as_json(), "parameters": shared, "encoders": encoders, "sources": hashes}
    plans = {split: plan_shards(split, names, seed, shard_sources) for split, names in sources.items()}
    todo = list(chain.from_iterable(plans.values()))
    engine = ((plan, write(plan)) for plan in todo) if workers == 1 else processes(write, todo, workers)
    manifests: dict[Split, Manifest] = {}
    with write.target.claimed(claim), closing(engine) as written:
        for split, shards in _complete_splits(written, plans, progress):
            manifests[split] = Manifest(split, info, shared, encoders, shards)
            text = manifests[split].to_json()
            Manifest.from_json(text)  # an unreadable manifest must not be written
            write.target.complete(split, text)
    return {split: manifests[split] for split in sources}


def _complete_splits(
    written: Written, plans: Mapping[Split, Sequence[ShardPlan]], progress: Progress
) -> Iterator[tuple[Split, tuple[ShardEntry, ...]]]:
    """Receive shards as they are finished, and yield the shards of each split that is complete."""
    total = {split: sum(len(plan.sources) for plan in of_split) for split, of_split in plans.items()}
    done = dict.fromkeys(plans, 0)
    entries: dict[str, ShardEntry] = {}
    for plan, entry in written:
        entries[plan.name] = entry
        done[plan.split] += len(plan.sources)
        progress(plan.split, done[plan.split], total[plan.split])
        if done[plan.split] == total[plan.split]:
            yield plan.split, tuple(entries[finished.name] for finished in plans[plan.split])


@dataclass(frozen=True, slots=True)
class _ShardWriter:
    """Writes shards to a target; an engine sends it to its processes."""

    target: Target
    records: Records
    features: Features

    def __call__(self, plan: ShardPlan) -> ShardEntry:
        """Write a shard, unless it is already finished."""
        entry = self.target.finished(plan.split, plan.name)
        if entry is None:
            streams = ((name, np.random.default_rng(seed)) for name, seed in plan.sources)
            records = (record for name, rng in streams for record in self.records(name, rng))
            entry, data = pack_shard(plan.name, records, self.features)
            self.target.store(plan.split, entry, data)
        return entry
