"""RecordSet: the records of a prepared split, or those whose factors fulfil a condition."""

from __future__ import annotations

import hashlib
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.manifest import Features, ShardEntry, load_manifest
from seqviews.pipeline.records import Batch, Factor
from seqviews.pipeline.shards.reader import ShardReader
from seqviews.pipeline.shards.shard import Shard
from seqviews.pipeline.storage.folder import Folder, Prefetcher
from seqviews.pipeline.storage.urls import open_folder
from seqviews.pipeline.stream.collate import StoredRecord, collate


class RecordSet:
    """The records of a split, for a stream to order and decode, or for random access.

    Args:
        folder: The split's folder or URL, for example `sprites/train` or `s3://bucket/sprites/train`.
        where: Decides by the factors of a record whether it is kept; by default all are. It reads and checks every
            shard once, here, and decodes no frame. The kept indices stay in memory, 4 bytes a record.

    Attributes:
        manifest: The manifest of the whole split.
        shards: The shards with kept records.
        counts: The number of kept records of each of these shards.
        identity: Identifies the records: the manifest's digest and, with `where`, the SHA-256 of the kept indices.

    Raises:
        ShardError: If the folder has no valid manifest, or with `where` a shard contradicts it.
        ValueError: If no record is kept.
    """

    def __init__(
        self, folder: Folder | Path | str, where: Callable[[Mapping[str, Factor]], bool] | None = None
    ) -> None:
        self.folder = open_folder(folder)
        self.manifest = load_manifest(self.folder)
        self._reader = ShardReader(self.folder, self.manifest.dataset.features)
        self.identity = self.manifest.digest
        entries = self.manifest.shards
        first = list(accumulate((entry.records for entry in entries), initial=0))[:-1]
        positions: list[Sequence[int]] = [range(entry.records) for entry in entries]
        if where is not None:
            kept = [self._matching(entry, where) for entry in entries]
            indices = np.concatenate([start + np.asarray(k, "<i8") for start, k in zip(first, kept, strict=True)])
            self.identity += " " + hashlib.sha256(indices.tobytes()).hexdigest()
            positions = list(kept)
        self.shards: list[ShardEntry] = [e for e, k in zip(entries, positions, strict=True) if len(k)]
        self._kept = [(start, k) for start, k in zip(first, positions, strict=True) if len(k)]
        self.counts = [len(k) for _, k in self._kept]
        if not self.counts:
            raise ValueError(f"no record of {folder} is kept: `where` is true for none of its {len(self.manifest)}")

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
        """Read and check the shard at a position of `shards`.

        Raises:
            ShardError: If it contradicts the manifest.
        """
        return self._reader.read(self.shards[shard])

    def find(self, shard: int, record: int) -> tuple[int, int]:
        """Return the position in its shard and the index in the whole split of a shard's `record`-th kept record."""
        first, kept = self._kept[shard]
        return kept[record], first + kept[record]

    def batch(self, indices: Iterable[int], factors: Sequence[str] = ()) -> Batch:
        """Decode the records at some indices of the split, in this order; `epoch` is 0.

        Each shard that holds any of them is read once and checked, one after the other.

        Args:
            indices: Indices as in `Batch.indices`, in any order, also repeated.
            factors: Names of the factors to decode.

        Raises:
            IndexError: If an index is outside the split.
            ValueError: If the data set lacks one of the factors.
            ShardError: If a shard contradicts the manifest.
        """
        check_agreement([self], factors)
        entries = self.manifest.shards
        first = list(accumulate((entry.records for entry in entries), initial=0))
        rows: dict[int, list[tuple[int, int]]] = defaultdict(list)
        wanted = [int(index) for index in indices]
        for row, index in enumerate(wanted):
            if not 0 <= index < first[-1]:
                raise IndexError(f"index {index} is not in {self.folder}, which has {first[-1]} records")
            rows[int(np.searchsorted(first, index, "right")) - 1].append((row, index))

        def records() -> Iterator[StoredRecord]:
            self.prefetcher.prefetch_now([entries[number] for number in sorted(rows)])
            for number in sorted(rows):
                shard = self._reader.read(entries[number])
                yield from (StoredRecord(row, shard, index - first[number], index) for row, index in rows[number])

        classes = {name: self.manifest.factors[name] for name in factors}
        return collate(records(), len(wanted), self.manifest.dataset.features, classes, epoch=0)

    def sources(self) -> tuple[list[str], NDArray[np.int64]]:
        """Return the sources of the whole split; every shard is read and checked once, and no frame is decoded.

        Returns:
            The names of the sources, sorted, and int64 `[N]`: the position there of each record's source, by index.

        Raises:
            ShardError: If a shard contradicts the manifest, or a record names no source.
        """
        names = [
            shard.source(i) for shard in map(self._reader.read, self.manifest.shards) for i in range(len(shard.keys))
        ]
        known = sorted(set(names))
        numbers = {name: number for number, name in enumerate(known)}
        return known, np.array([numbers[name] for name in names], np.int64)

    def check_cache(self, shards: int) -> None:
        """Check that the cache, if there is one, can hold a number of shards.

        Raises:
            ValueError: If it cannot.
        """
        cache = self.prefetcher.cache
        needed = sum(sorted((entry.bytes for entry in self.shards), reverse=True)[:shards])
        if cache is not None and needed > cache.size:
            sizes = f"may take {cache.size / 1e6:.1f} MB, and the windows of {self.folder} take up to"
            reason = f"{sizes} {needed / 1e6:.1f} MB: give it more, or the stream fewer lanes"
            raise ValueError(f"the cache {cache.folder} {reason}")


def check_agreement(sets: Sequence[RecordSet], factors: Sequence[str]) -> None:
    """Check that the records of several data sets fit into one batch.

    Args:
        sets: The data sets.
        factors: Names of factors that each must have, with the same classes.

    Raises:
        ValueError: If there is no data set, or one has other features or factors than the first.
    """
    if not sets:
        raise ValueError("there is no data set to stream: give a folder or a RecordSet")
    first = sets[0]
    for records in sets:
        has, expected = (_describe(s.manifest.dataset.features) for s in (records, first))
        if has != expected:
            raise ValueError(f"{records.folder} has {has}, but {first.folder} has {expected}: they cannot be mixed")
        known = records.manifest.factors
        for name in factors:
            if name not in known:
                raise ValueError(f"{records.folder} has no factor {name}: it has {', '.join(known)}")
            if known[name] != first.manifest.factors[name]:
                raise ValueError(f"the factor {name} has other classes in {records.folder} than in {first.folder}")


def _describe(features: Features) -> str:
    if features.mel is None:
        return f"clips of {list(features.shape)}"
    return f"segments of {list(features.shape)} in {features.mel.voices} other voices with {features.mel.parameters}"
