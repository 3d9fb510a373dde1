"""ShardReader: the shards of a split, from wherever it is, checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from seqviews.pipeline.manifest import Features, ShardEntry
from seqviews.pipeline.shards import Shard, parse_shard, read_shard
from seqviews.pipeline.storage import Cache, Folder, LocalFolder

if TYPE_CHECKING:
    from seqviews.pipeline.fetch import Fetcher


class ShardReader:
    """Reads shards whole; those from object storage through the cache.

    Args:
        folder: The split.
        features: What its records look like.

    Raises:
        ShardError: If the split is in object storage and the cache cannot be used.
    """

    def __init__(self, folder: Folder, features: Features) -> None:
        self._folder, self._features = folder, features
        self._fetcher: Fetcher | None = None
        if not isinstance(folder, LocalFolder):
            from seqviews.pipeline.bucket import Bucket  # obstore is an extra
            from seqviews.pipeline.fetch import Fetcher

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
        if self._fetcher is None:
            assert isinstance(self._folder, LocalFolder)
            return read_shard(self._folder.path, entry, self._features)
        return parse_shard(f"{self._folder}/{entry.name}", self._fetcher.read(entry), entry, self._features)

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
