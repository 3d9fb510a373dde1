"""Check a prepared data set: every shard, every record, and that no two splits share a source."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from seqviews.pipeline.manifest import SPLITS, Manifest, ShardEntry, load_manifest
from seqviews.pipeline.records import ShardError
from seqviews.pipeline.shards.codec import decode_json
from seqviews.pipeline.shards.reader import ShardReader
from seqviews.pipeline.shards.shard import Shard
from seqviews.pipeline.storage.folder import MANIFEST, Folder, open_folder
from seqviews.pipeline.stream.collate import Located, collate

_SEVERAL = re.compile(r"\w+-\d+(\+\w+-\d+)+")


@dataclass(slots=True)
class SplitCheck:
    """What was found in a split.

    Attributes:
        shards, records, bytes: Of the shards that are as the manifest says.
        identities: Whom the records show: their sources, and their classes of the identity factors. None in a fast
            check.
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
    """Read a prepared data set whole and tell everything that is wrong with it.

    Each shard's size, SHA-256, structure and record count must be the manifest's, and keys unique over the split. Each
    record must decode to the manifest's shape and type, and have its factors, in range. No source may be in two splits.

    Args:
        folder: Or URL of a data set, with train, val or test in it, or of one split.
        fast: Leave the records alone: nothing is decoded, and sources are not compared.
        identity: Static factors that together say who a record shows, for example the speaker: no combination of their
            classes may be in two splits either.
        threads: Shards checked side by side, each held in memory.
        progress: Called with the split, the shards checked and all its shards, after every shard.

    Returns:
        What was found, by split; the data set is sound if there are no problems in any of them.

    Raises:
        ShardError: If the folder is neither a data set nor a split.
        ValueError: If an identity factor is not a static factor with classes, or there are no threads.
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
        _check_agreement(manifests, split, path, checks[split])
        for name in identity:
            if manifests[split].dataset.static.get(name) is None:
                raise ValueError(f"{path} has no static factor {name} with classes")
        shards = ShardReader(path, manifests[split].dataset.features)
        reader = _Reader(shards, manifests[split], fast, tuple(identity))
        _check_split(checks[split], path, reader, threads, progress)
    _compare(checks)
    return checks


def split_folders(folder: Folder | Path) -> dict[str, Folder]:
    """The folders of a data set's splits by name, or the one folder if it is a split itself.

    Raises:
        ShardError: If the folder is neither a data set nor a split.
    """
    folder = open_folder(folder)
    if folder.has(MANIFEST):
        return {folder.name: folder}
    found: dict[str, Folder] = {split: folder / split for split in SPLITS if (folder / split).exists()}
    if not found:
        raise ShardError(f"{folder} is no prepared data set: it has no train, val or test, nor a manifest.json")
    return found


def _check_agreement(manifests: Mapping[str, Manifest], split: str, path: Folder, check: SplitCheck) -> None:
    """The splits of a data set must describe it alike, and be where their names say."""
    manifest = manifests[split]
    first = next(iter(manifests))
    if manifest.dataset != manifests[first].dataset:
        check.problems.append(f"{path}/{MANIFEST}: describes another data set than the manifest of {first}")
    if split in SPLITS and manifest.split != split:
        check.problems.append(f"{path}/{MANIFEST}: is of the split {manifest.split}, not {split}")


def _check_split(
    check: SplitCheck, path: Folder, reader: _Reader, threads: int, progress: Callable[[str, int, int], None]
) -> None:
    entries = reader.manifest.shards
    keys: dict[str, str] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    with ThreadPoolExecutor(threads) as pool:
        for done, (entry, found) in enumerate(zip(entries, pool.map(reader.check, entries), strict=True), start=1):
            problems = found.problems
            problems += [f"{path}/{entry.name}: key {key} is in {keys[key]} too" for key in found.keys if key in keys]
            keys.update(dict.fromkeys(found.keys, entry.name))
            for name, shape in found.shapes:
                if shape != shapes.setdefault(name, shape):
                    told = f"{name} is {list(shape)} in one record and {list(shapes[name])} in another"
                    problems.append(f"{path}/{entry.name}: {told}")
            if problems:
                check.problems.append(problems[0] + _more(problems))
            else:
                check.shards += 1
                check.records += entry.records
                check.bytes += entry.bytes
            check.identities |= found.identities
            progress(reader.manifest.split, done, len(entries))


def _compare(checks: Mapping[str, SplitCheck]) -> None:
    """Note in the later of two splits what it shares with the earlier one."""
    for (first, a), (second, b) in combinations(checks.items(), 2):
        shared = sorted(a.identities & b.identities)
        if shared:
            b.problems.append(f"{first} and {second} share {shared[0]}" + _more(shared))


def _more(things: Collection[str]) -> str:
    return f", and {len(things) - 1} more" if len(things) > 1 else ""


@dataclass(slots=True)
class _Found:
    """What a shard holds."""

    keys: list[str] = field(default_factory=list)
    identities: set[str] = field(default_factory=set)
    shapes: set[tuple[str, tuple[int, ...]]] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Checks the shards of one split; any number of them at a time."""

    shards: ShardReader
    manifest: Manifest
    fast: bool
    identity: tuple[str, ...]

    def check(self, entry: ShardEntry) -> _Found:
        found = _Found()
        try:
            shard = self.shards.read(entry)
        except ShardError as error:
            found.problems.append(str(error))
            return found
        found.keys = shard.keys
        for record in range(0 if self.fast else len(shard.keys)):
            try:
                self._check_record(shard, record, found)
            except ShardError as error:
                found.problems.append(str(error))
        return found

    def _check_record(self, shard: Shard, record: int, found: _Found) -> None:
        features, factors = self.manifest.dataset.features, self.manifest.factors
        loaded: Future[Shard] = Future()
        loaded.set_result(shard)
        batch = collate([Located(loaded, record, record)], features, factors, epoch=0)  # as the stream decodes it
        key = shard.keys[record]
        try:
            about = decode_json(shard.members(record)[-1])
        except ValueError as error:
            raise ShardError(f"{shard.name}: {key}.json: {error}") from None
        for name, value in {"key": key, "frames": features.shape[0]}.items():
            if about.get(name) != value:
                raise ShardError(f"{shard.name}: {key}.json: {name} is {about.get(name)!r:.80}, not {value!r}")
        if not isinstance(about.get("source"), str):
            raise ShardError(f"{shard.name}: {key}.json: no source")
        found.identities |= set(_identities(about["source"]))
        if self.identity:
            told = (f"{name} {(factors[name] or [])[int(batch.factors[name])]}" for name in self.identity)
            found.identities.add(", ".join(told))
        found.shapes |= {(name, tuple(batch.factors[name].shape[1:])) for name in factors}


def _identities(source: str) -> Iterator[str]:
    """A source, or the several that it is made of, as in `mnist-00012+mnist-04711`."""
    for part in source.split("+") if _SEVERAL.fullmatch(source) else [source]:
        if part:
            yield f"source {part}"
