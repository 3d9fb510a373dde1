"""Check every shard and record of a prepared data set, and that no two splits share a source."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

from seqviews.pipeline.manifest import SPLITS, Manifest, load_manifest
from seqviews.pipeline.records import ShardError
from seqviews.pipeline.shard_table import ShardEntry
from seqviews.pipeline.shards.codec import factor_array
from seqviews.pipeline.shards.reader import ShardReader
from seqviews.pipeline.shards.shard import Shard
from seqviews.pipeline.storage.folder import MANIFEST, Folder
from seqviews.pipeline.storage.urls import open_folder

_SEVERAL = re.compile(r"\w+-\d+(\+\w+-\d+)+")


@dataclass(slots=True)
class SplitCheck:
    """The result of checking a split.

    Attributes:
        shards, records, bytes: Totals of the shards that match the manifest.
        identities: The records' sources and their classes of the identity factors; empty in a fast check.
        problems: A sentence for each damaged shard and each mistake.
    """

    shards: int = 0
    records: int = 0
    bytes: int = 0
    identities: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def check_dataset(
    folder: Folder | Path,
    *,
    fast: bool = False,
    identity: Sequence[str] = (),
    threads: int = 2,
    progress: Callable[[str, int, int], None] = lambda split, done, total: None,
) -> dict[str, SplitCheck]:
    """Read a whole prepared data set and report, by split, everything that is wrong with it.

    Each shard's size, SHA-256, structure and record count must be the manifest's, and keys unique in the split. Each
    record must decode to the manifest's shape and type and have its factors, in range. No source may be in two splits.

    Args:
        folder: A data set, with train, val or test in it, or one split.
        fast: Do not decode records or compare sources.
        identity: Static factors that together determine who a record shows, for example the speaker: no combination of
            their classes may be in two splits either.
        threads: Number of shards that are checked at a time, each held in memory.
        progress: Called after every shard with the split, the number of shards checked and their total.

    Raises:
        ShardError: If the folder is neither a data set nor a split.
        ValueError: If an identity factor is not a static factor with classes, or `threads` is below 1.
    """
    if threads < 1:
        raise ValueError("threads must be at least 1")
    checks: dict[str, SplitCheck] = {}
    manifests: dict[str, Manifest] = {}
    for split, path in split_folders(folder).items():
        checks[split] = SplitCheck()
        try:
            manifests[split] = load_manifest(path)
        except ShardError as error:
            checks[split].problems.append(str(error))
            continue
        manifest, first = manifests[split], next(iter(manifests))
        if manifest.dataset != manifests[first].dataset:
            reason = f"describes another data set than the manifest of {first}"
            checks[split].problems.append(f"{path}/{MANIFEST}: {reason}")
        if split in SPLITS and manifest.split != split:
            checks[split].problems.append(f"{path}/{MANIFEST}: is of the split {manifest.split}, not {split}")
        for name in identity:
            if manifest.dataset.static.get(name) is None:
                raise ValueError(f"{path} has no static factor {name} with classes")
        checker = _ShardChecker(ShardReader(path, manifest.dataset.features), manifest, fast, tuple(identity))
        _check_split(checks[split], path, checker, threads, progress)
    _compare(checks)
    return checks


def split_folders(folder: Folder | Path) -> dict[str, Folder]:
    """Return the folders of a data set's splits by name, or a split itself. Raises `ShardError` if it is neither."""
    folder = open_folder(folder)
    if folder.has(MANIFEST):
        return {folder.name: folder}
    found: dict[str, Folder] = {split: folder / split for split in SPLITS if (folder / split).exists()}
    if not found:
        raise ShardError(f"{folder} is not a prepared data set: it has no train, val or test, nor a manifest.json")
    return found


def _check_split(
    check: SplitCheck, path: Folder, checker: _ShardChecker, threads: int, progress: Callable[[str, int, int], None]
) -> None:
    entries = checker.manifest.shards
    keys: dict[str, str] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    with ThreadPoolExecutor(threads) as pool:
        for done, (entry, contents) in enumerate(zip(entries, pool.map(checker.check, entries), strict=True), start=1):
            name, problems = f"{path}/{entry.name}", contents.problems
            problems += [f"{name}: key {key} is in {keys[key]} too" for key in contents.keys if key in keys]
            keys.update(dict.fromkeys(contents.keys, entry.name))
            for factor, shape in contents.shapes:
                expected = shapes.setdefault(factor, shape)
                if shape != expected:
                    problems.append(
                        f"{name}: {factor} is {list(shape)} a frame in one record and {list(expected)} in another"
                    )
            if problems:
                check.problems.append(problems[0] + _more(problems))
            else:
                check.shards += 1
                check.records += entry.records
                check.bytes += entry.bytes
            check.identities |= contents.identities
            progress(checker.manifest.split, done, len(entries))


def _compare(checks: Mapping[str, SplitCheck]) -> None:
    """Report in the later of two splits what it shares with the earlier one."""
    for (first, a), (second, b) in combinations(checks.items(), 2):
        shared = sorted(a.identities & b.identities)
        if shared:
            b.problems.append(f"{first} and {second} share {shared[0]}" + _more(shared))


def _more(items: Collection[str]) -> str:
    return f", and {len(items) - 1} more" if len(items) > 1 else ""


@dataclass(slots=True)
class _Contents:
    """What a shard holds."""

    keys: list[str] = field(default_factory=list)
    identities: set[str] = field(default_factory=set)
    shapes: set[tuple[str, tuple[int, ...]]] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _ShardChecker:
    """Checks the shards of one split; any number of them at a time."""

    reader: ShardReader
    manifest: Manifest
    fast: bool
    identity: tuple[str, ...]

    def check(self, entry: ShardEntry) -> _Contents:
        try:
            shard = self.reader.read(entry)
        except ShardError as error:
            return _Contents(problems=[str(error)])
        contents = _Contents(shard.keys)
        for record in range(0 if self.fast else len(shard.keys)):
            try:
                self._check_record(shard, record, contents)
            except ShardError as error:
                contents.problems.append(str(error))
        return contents

    def _check_record(self, shard: Shard, record: int, contents: _Contents) -> None:
        features, factors = self.manifest.dataset.features, self.manifest.factors
        frames, given = shard.frames(record), shard.factors(record)
        out, voices = np.empty((frames, *features.shape[1:]), features.dtype), features.converted_shape
        converted = None if voices is None else np.empty((voices[0], *out.shape), np.float16)
        key = shard.decode(record, out, converted, frames)
        name, chosen = f"{shard.name}: {key}", [(frames, range(frames))]
        values = {f: factor_array(f, classes, [given.get(f)], [name], chosen)[0] for f, classes in factors.items()}
        about = shard.json(record)
        for field_name, expected in {"key": key, "frames": frames}.items():
            if (found := about.get(field_name)) != expected:
                raise ShardError(f"{shard.name}: {key}.json: {field_name} is {found!r:.80}, not {expected!r}")
        contents.identities |= _identities(shard.source(record))
        if self.identity:
            contents.identities.add(", ".join(f"{f} {(factors[f] or [])[int(values[f])]}" for f in self.identity))
        contents.shapes |= {(f, value.shape[1:]) for f, value in values.items()}


def _identities(source: str) -> set[str]:
    """Return a source, or the sources that it is combined from, as in `mnist-00012+mnist-04711`."""
    parts = source.split("+") if _SEVERAL.fullmatch(source) else [source]
    return {f"source {part}" for part in parts if part}
