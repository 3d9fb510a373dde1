"""ShardReader: the shards of a split, from wherever it is, checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from mmap import mmap
from threading import Lock
from typing import TYPE_CHECKING

from seqviews.pipeline.manifest import Features, ShardEntry
from seqviews.pipeline.shards.shard import Shard, ShardIndex, index_shard, read_file
from seqviews.pipeline.storage.folder import Cache, Folder, LocalFolder

if TYPE_CHECKING:
    from seqviews.pipeline.storage.prefetch import Fetcher


INDEXED_RECORDS = 100_000
"""How many records' places a reader remembers; they take about 150 bytes each."""


class ShardReader:
    """Reads shards whole; those from object storage through the cache.

    What is read again has its SHA-256 checked again; where its records are is known from the first time.

    Args:
        folder: The split.
        features: What its records look like.

    Raises:
        ShardError: If the split is in object storage and the cache cannot be used.
    """

    def __init__(self, folder: Folder, features: Features) -> None:
        self._folder, self._features = folder, features
        self._fetcher: Fetcher | None = None
        self._indices: dict[ShardEntry, ShardIndex] = {}
        self._indexed, self._lock = 0, Lock()
        if not isinstance(folder, LocalFolder):
            from seqviews.pipeline.storage.bucket import Bucket  # obstore is an extra
            from seqviews.pipeline.storage.prefetch import Fetcher

            assert isinstance(folder, Bucket)
            self._fetcher = Fetcher(folder)

    @property
    def cache(self) -> Cache | None:
        """Where shards are kept that come from object storage; None for those on disk."""
        return None if self._fetcher is None else self._fetcher.place

    def read(self, entry: ShardEntry) -> Shard:
        """Read a shard and check it; several threads may do so at a time.

        Raises:
            ShardError: If it is not what the manifest says, or cannot be had.
        """
        name, data = f"{self._folder}/{entry.name}", self._bytes(entry)
        index = self._indices.get(entry)
        if index is None:
            index = index_shard(name, data, entry, self._features)
            self._remember(entry, index)
        return Shard(name, memoryview(data), self._features, index)

    def _bytes(self, entry: ShardEntry) -> bytes | mmap:
        if self._fetcher is not None:
            return self._fetcher.read(entry)
        assert isinstance(self._folder, LocalFolder)
        return read_file(self._folder.path, entry)

    def _remember(self, entry: ShardEntry, index: ShardIndex) -> None:
        with self._lock:  # which shards are kept does not matter: in a random order each is as good as another
            if entry not in self._indices and self._indexed + entry.records <= INDEXED_RECORDS:
                self._indices[entry] = index
                self._indexed += entry.records

    def demand(self, entries: Sequence[ShardEntry]) -> None:
        """Say which shards will be read next."""
        if self._fetcher is not None:
            self._fetcher.demand(entries)

    def expect(self, entries: Sequence[ShardEntry], when: Callable[[str], float]) -> None:
        """Say which shards to fetch ahead, and when each is needed, by its SHA-256, in how many windows."""
        if self._fetcher is not None:
            self._fetcher.expect(entries, when)

    def abandon(self) -> None:
        """Let go of what is being fetched."""
        if self._fetcher is not None:
            self._fetcher.abandon()
