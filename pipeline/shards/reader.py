"""ShardReader: reads the shards of a split."""

from threading import Lock
from typing import Any

from seqviews.pipeline.features import Features
from seqviews.pipeline.shard_table import ShardEntry
from seqviews.pipeline.shards.shard import Shard, ShardIndex, index_shard, release
from seqviews.pipeline.storage.folder import Folder

INDEXED_RECORDS = 100_000
"""The number of records whose positions a reader remembers; they take about 150 bytes each."""


class ShardReader:
    """Reads shards of a split whole; `prefetcher` fetches them ahead of their use.

    The SHA-256 is checked in every read, the structure of the tar only in the first. Raises `ShardError` if the split
    is in object storage and the cache cannot be used.
    """

    def __init__(self, folder: Folder, features: Features) -> None:
        self._folder, self._features = folder, features
        self.prefetcher = folder.prefetcher()
        self._indices: dict[ShardEntry, ShardIndex] = {}
        self._indexed, self._lock = 0, Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy the folder and the features: what is remembered and fetched stays here."""
        return ShardReader, (self._folder, self._features)

    def read(self, entry: ShardEntry) -> Shard:
        """Read a shard; thread-safe. Raises `ShardError` if it cannot be read or contradicts the manifest."""
        name, data = f"{self._folder}/{entry.name}", self.prefetcher.read(entry)
        index = self._indices.get(entry)
        if index is None:
            index = index_shard(name, data, entry, self._features)
            with self._lock:  # any choice of shards is as good as another, as they are read in random order
                if entry not in self._indices and self._indexed + entry.records <= INDEXED_RECORDS:
                    self._indices[entry] = index
                    self._indexed += entry.records
        view = memoryview(data)
        release(view, 0, len(view))  # what was read to find the records
        return Shard(name, view, self._features, index)
