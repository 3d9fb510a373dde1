"""Run a preprocessor over processes: sources to shards, manifest last."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from seqviews.pipeline.codec import encoder_versions
from seqviews.pipeline.manifest import SPLITS, DatasetInfo, Manifest, ShardEntry, Split
from seqviews.pipeline.records import Clip
from seqviews.pipeline.shards import write_atomically, write_shard


class Preprocessor(Protocol):
    """A raw data set that can be cut into records. It is sent to other processes, so it must pickle."""

    @property
    def info(self) -> DatasetInfo:
        """What the data set is."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What decides its records, for the manifest."""

    def sources(self, split: Split) -> Sequence[str]:
        """The names of a split's sources, in an order that never changes."""

    def records(self, source: str, rng: np.random.Generator) -> Iterable[Clip]:
        """The records of a source; whatever is random in them is drawn from `rng`."""


@dataclass(frozen=True, slots=True)
class _ShardPlan:
    """All that decides one shard's bytes."""

    path: Path
    sources: tuple[tuple[str, tuple[int, int, int]], ...]  # name, seed of its random stream


def prepare(
    dataset: Preprocessor,
    out: Path,
    *,
    seed: int = 0,
    shard_sources: int = 50,
    workers: int = 1,
    progress: Callable[[Split, int, int], None] = lambda split, done, total: None,
) -> dict[Split, Manifest]:
    """Write every split of a data set below `out`; the bytes do not depend on the number of workers.

    Args:
        dataset: What to cut into records.
        out: A folder that does not exist yet, or is empty.
        seed: Decides the order of the sources and what is random in their records.
        shard_sources: Whole sources in a shard.
        workers: Processes.
        progress: Called with the split, the sources written and all its sources, after every shard.

    Raises:
        FileExistsError: If `out` already holds something.
        ValueError: If a record is not what the data set says.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} already holds something: remove it or choose another --out")
    if shard_sources < 1 or workers < 1:
        raise ValueError("shard_sources and workers must be at least 1")
    manifests: dict[Split, Manifest] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(dataset,)) as pool:
        for split in SPLITS:
            sources = dataset.sources(split)
            if not sources:
                continue
            folder = out / split
            folder.mkdir(parents=True)
            plans = _plan(folder, split, sources, seed, shard_sources)
            futures = {pool.submit(_write, plan): len(plan.sources) for plan in plans}
            done = 0
            try:
                for future in as_completed(futures):
                    future.result()
                    done += futures[future]
                    progress(split, done, len(sources))
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
            manifests[split] = Manifest(
                split=split,
                dataset=dataset.info,
                parameters={**dataset.parameters, "seed": seed, "shard_sources": shard_sources},
                encoders=encoder_versions(dataset.info.features.codec),
                shards=tuple(future.result() for future in futures),
            )
            write_atomically(folder / "manifest.json", manifests[split].to_json().encode())
    return manifests


def _plan(folder: Path, split: Split, sources: Sequence[str], seed: int, shard_sources: int) -> list[_ShardPlan]:
    number = SPLITS.index(split)
    # numpy takes the seeds (a, b) and (a, b, 0) for the same: the order has 0, source i has i + 1
    order = np.random.default_rng([seed, number, 0]).permutation(len(sources)).tolist()
    return [
        _ShardPlan(
            folder / f"{split}-{start // shard_sources:06d}.tar",
            tuple((sources[i], (seed, number, i + 1)) for i in order[start : start + shard_sources]),
        )
        for start in range(0, len(order), shard_sources)
    ]


_dataset: Preprocessor


def _start(dataset: Preprocessor) -> None:
    global _dataset
    _dataset = dataset


def _write(plan: _ShardPlan) -> ShardEntry:
    return write_shard(plan.path, _clips(plan), _dataset.info.features)


def _clips(plan: _ShardPlan) -> Iterator[Clip]:
    for name, seed in plan.sources:
        yield from _dataset.records(name, np.random.default_rng(seed))
