"""RecordSet: the records of a prepared split, or those whose factors fulfil a condition."""

from __future__ import annotations

import copy
import hashlib
from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import nlargest
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.features import Features
from seqviews.pipeline.manifest import load_manifest
from seqviews.pipeline.records import Batch, Factor
from seqviews.pipeline.shard_table import ShardEntry, record_counts
from seqviews.pipeline.shards.reader import ShardReader
from seqviews.pipeline.shards.shard import Shard
from seqviews.pipeline.storage.folder import Folder, Prefetcher
from seqviews.pipeline.storage.urls import open_folder
from seqviews.pipeline.stream.collate import StoredRecord, collate
from seqviews.pipeline.stream.excerpt import Excerpt


class RecordSet:
    """The records of a split, for a stream to order and decode, or for random access.

    Args:
        folder: The split's folder or URL, for example `sprites/train` or `s3://bucket/sprites/train`.
        where: Decides by the factors of a record whether it is kept; by default all are. It reads and checks every
            shard once, here, and decodes no frame. The kept indices stay in memory, 4 bytes a record.

    Attributes:
        manifest: The manifest of the whole split.
        shards, counts: The shards with kept records, and the number of these in each.
        identity: Identifies the records: the manifest's digest and, with `where`, the SHA-256 of the kept indices.
        skipped: Number of records that are not among them because they are shorter than an excerpt.

    Raises:
        ShardError: If the folder has no valid manifest, or with `where` a shard contradicts it.
        TypeError: If `folder` is none, such as records that are made.
        ValueError: If no record is kept.
    """

    def __init__(
        self, folder: Folder | Path | str, where: Callable[[Mapping[str, Factor]], bool] | None = None
    ) -> None:
        if not isinstance(folder, (Folder, Path, str)):
            given = f"{type(folder).__name__} is not a folder of stored records"
            raise TypeError(
                f"{given}: `where` and mixtures require one; use MadeStream alone for records that are made"
            )
        self.folder = open_folder(folder)
        self.manifest = load_manifest(self.folder)
        self._reader = ShardReader(self.folder, self.manifest.dataset.features)
        self.identity = self.manifest.digest
        entries = self.manifest.shards
        counts = record_counts(entries)
        self._first: NDArray[np.int64] = np.concatenate([[0], counts.cumsum()])
        self.shards: Sequence[ShardEntry] = entries
        self.counts: list[int] = counts.tolist()
        self._kept: list[tuple[int, Sequence[int], Sequence[int] | None]] | None = None  # all records
        self.skipped = 0
        if where is not None:
            first = self._first.tolist()[:-1]
            kept = [self._matching(entry, where) for entry in entries]
            indices = np.concatenate([start + np.asarray(k, "<i8") for start, k in zip(first, kept, strict=True)])
            self.identity += " " + hashlib.sha256(indices.tobytes()).hexdigest()
            self._keep(entries, zip(first, kept, repeat(None)))
        if not self.counts:
            raise ValueError(f"no record of {folder} is kept: `where` is true for none of its {len(self.manifest)}")

    def _keep(
        self, entries: Iterable[ShardEntry], kept: Iterable[tuple[int, Sequence[int], Sequence[int] | None]]
    ) -> None:
        """Keep some records of each shard: its first index in the split, their positions, and which excerpt of each."""
        pairs = [(entry, k) for entry, k in zip(entries, kept, strict=False) if len(k[1])]
        self.shards = [entry for entry, _ in pairs]
        self._kept = [k for _, k in pairs]
        self.counts = [len(positions) for _, positions, _ in self._kept]

    def in_excerpts(self, excerpt: Excerpt) -> RecordSet:
        """Return the records that are as long as an excerpt, each as often as it has excerpts.

        Reads and checks every shard once if the lengths in the manifest do not suffice, and decodes no frame.

        Raises:
            ShardError: If a shard contradicts the manifest.
            ValueError: If no record is long enough.
        """
        least, greatest = self.manifest.dataset.features.frames
        if excerpt.place != "all" and least >= excerpt.span:
            return self
        if greatest < excerpt.span:
            found = f"has {excerpt.span}, and no record of {self.folder} has more than {greatest}"
            raise ValueError(f"an excerpt of {excerpt.frames} frames, every {excerpt.step}th, {found}")
        kept: list[tuple[int, Sequence[int], Sequence[int]]] = []
        chosen = copy.copy(self)
        for number in range(len(self.shards)):
            first, positions, _ = self._kept_of(number)
            shard = self.read(number) if least < greatest else None
            counts = [excerpt.count(greatest if shard is None else shard.frames(i)) for i in positions]
            pairs = [(position, i) for position, count in zip(positions, counts, strict=True) for i in range(count)]
            kept.append((first, array("i", [p for p, _ in pairs]), array("i", [i for _, i in pairs])))
            chosen.skipped += counts.count(0)
        chosen._keep(self.shards, kept)
        if not chosen.counts:
            raise ValueError(f"no record of {self.folder} that is kept has the {excerpt.span} frames of the excerpt")
        return chosen

    def _matching(self, entry: ShardEntry, where: Callable[[Mapping[str, Factor]], bool]) -> array[int]:
        shard = self._reader.read(entry)
        return array("i", [i for i in range(entry.records) if where(shard.factors(i))])

    @property
    def prefetcher(self) -> Prefetcher:
        """Fetches shards of the split ahead of their use."""
        return self._reader.prefetcher

    def __len__(self) -> int:
        """Return the number of kept records."""
        return sum(self.counts)

    def read(self, shard: int) -> Shard:
        """Read the shard at a position of `shards`. Raises `ShardError` if it contradicts the manifest."""
        return self._reader.read(self.shards[shard])

    def find(self, shard: int, record: int) -> tuple[int, int, int]:
        """Return of a shard's `record`-th kept record its position there, its index in the split, and which excerpt."""
        first, positions, numbers = self._kept_of(shard)
        return positions[record], first + positions[record], 0 if numbers is None else numbers[record]

    def _kept_of(self, shard: int) -> tuple[int, Sequence[int], Sequence[int] | None]:
        """Return the first index in the split of a shard's records, the kept positions, and which excerpt of each."""
        return (int(self._first[shard]), range(self.counts[shard]), None) if self._kept is None else self._kept[shard]

    def batch(self, indices: Iterable[int], factors: Sequence[str] = (), excerpt: Excerpt | None = None) -> Batch:
        """Decode the records at some indices of the split, as in `Batch.indices`, with these factors; `epoch` is 0.

        The indices may be in any order and repeated. Each shard that holds any of them is read once and checked. An
        excerpt is that of seed 0 or, of `all` excerpts of a record, the first.

        Raises:
            IndexError: If an index is outside the split.
            ValueError: If the data set lacks a factor or a record is shorter than the excerpt; `ShardError`, a
                subclass, if a shard contradicts the manifest.
        """
        check_agreement([self], factors)
        entries = self.manifest.shards
        first = self._first.tolist()
        rows: dict[int, list[tuple[int, int]]] = defaultdict(list)
        wanted = [int(index) for index in indices]
        for row, index in enumerate(wanted):
            if not 0 <= index < first[-1]:
                raise IndexError(f"index {index} is not in {self.folder}, which has {first[-1]} records")
            rows[bisect_right(first, index) - 1].append((row, index))

        def records() -> Iterator[StoredRecord]:
            self.prefetcher.prefetch_now([entries[number] for number in sorted(rows)])
            for number in sorted(rows):
                shard = self._reader.read(entries[number])
                yield from (StoredRecord(row, shard, index - first[number], index) for row, index in rows[number])

        classes = {name: self.manifest.factors[name] for name in factors}
        return collate(records(), len(wanted), self.manifest.dataset.features, classes, 0, excerpt)

    def sources(self) -> tuple[list[str], NDArray[np.int64]]:
        """Return the names of the whole split's sources, sorted, and int64 `[N]`, the position there of each record's.

        Every shard is read and checked once, and no frame is decoded. Raises `ShardError` as `read`, and if a record
        names no source.
        """
        shards = map(self._reader.read, self.manifest.shards)
        names = [shard.source(i) for shard in shards for i in range(len(shard.keys))]
        numbers = {name: number for number, name in enumerate(sorted(set(names)))}
        return list(numbers), np.array([numbers[name] for name in names], np.int64)

    def check_cache(self, shards: int) -> None:
        """Raise `ValueError` if the shards are read through a cache that cannot hold this number of them."""
        cache = self.prefetcher.cache
        needed = sum(nlargest(shards, (entry.bytes for entry in self.shards))) if cache is not None else 0
        if cache is not None and needed > cache.size:
            sizes = f"may take {cache.size / 1e6:.1f} MB, and the windows of {self.folder} take up to"
            reason = f"{sizes} {needed / 1e6:.1f} MB: give it more, or the stream fewer lanes"
            raise ValueError(f"the cache {cache.folder} {reason}")


def check_agreement(sets: Sequence[RecordSet], factors: Sequence[str], excerpt: Excerpt | None = None) -> None:
    """Check that the records of several data sets, or excerpts of them, fit into one batch.

    Raises:
        ValueError: If there is no data set, or one has other features than the first, or other classes of `factors`.
    """
    if not sets:
        raise ValueError("there is no data set to stream: give a folder or a RecordSet")
    first = sets[0]
    for records in sets:
        has, expected = (_describe(s.manifest.dataset.features, excerpt) for s in (records, first))
        if has != expected:
            raise ValueError(f"{records.folder} has {has}, but {first.folder} has {expected}: they cannot be mixed")
        known = records.manifest.factors
        for name in factors:
            if name not in known:
                raise ValueError(f"{records.folder} has no factor {name}: it has {', '.join(known)}")
            if known[name] != first.manifest.factors[name]:
                raise ValueError(f"the factor {name} has other classes in {records.folder} than in {first.folder}")


def _describe(features: Features, excerpt: Excerpt | None) -> str:
    shape = str(list(features.shape if excerpt is None else features.shape[1:]))
    if excerpt is None and features.min_frames is not None:
        shape += f" and down to {features.min_frames} frames"
    if features.mel is None:
        return f"clips of {shape}"
    return f"segments of {shape} in {features.mel.voices} other voices with {features.mel.parameters}"
