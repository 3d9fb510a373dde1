"""Fetcher: shards from object storage into the cache, ahead of need, several at once, each checked as it comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from typing import BinaryIO

from seqviews.pipeline.attempts import ending, persist
from seqviews.pipeline.bucket import Bucket
from seqviews.pipeline.cache import NEVER, NOW, shared_cache
from seqviews.pipeline.manifest import ShardEntry
from seqviews.pipeline.records import ShardError
from seqviews.pipeline.storage import Cache, ChangedError, Patience, StorageError, TransientError

PARALLEL = 8
DAMAGES = 3
SECONDS_PER_MEGABYTE = 20


class Fetcher:
    """The shards of one split in a bucket, through the cache.

    Args:
        folder: The split.

    Raises:
        ShardError: If the cache cannot be used.
    """

    def __init__(self, folder: Bucket) -> None:
        self._folder = folder
        try:
            self._cache = shared_cache(folder.cache)
        except StorageError as error:
            raise ShardError(f"{folder}: {error}") from None
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="seqviews-fetch")
        self._running: dict[str, Future[bytes | None]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._later: Mapping[str, float] = {}
        self._demanded: set[str] = set()

    @property
    def place(self) -> Cache:
        """Of the cache."""
        return self._folder.cache

    def demand(self, shards: Sequence[ShardEntry]) -> None:
        """Begin to fetch shards that will be read next."""
        for shard in shards:
            self._demanded.add(shard.sha256)
            self._cache.needed[shard.sha256] = 0.0
            if not self._cache.has(shard):
                self._begin(shard, NOW)

    def expect(self, needed: Mapping[str, float], ahead: Sequence[ShardEntry]) -> None:
        """Say when shards will be needed, and begin to fetch some, as far as there is room.

        Args:
            needed: By SHA-256, in how many windows, without the reading that was demanded already.
            ahead: What to fetch.
        """
        self._later = needed
        for name, when in needed.items():
            if name not in self._demanded:
                self._cache.needed[name] = when
        for shard in ahead:
            if not self._cache.has(shard):
                self._begin(shard, needed[shard.sha256])

    def read(self, shard: ShardEntry) -> bytes:
        """The bytes of a shard, which are what the manifest says.

        Raises:
            ShardError: If they cannot be had within the deadline.
        """
        data = self._cache.read(shard)
        try:
            while data is None:
                data = self._begin(shard, NOW, reading=True).result() or self._cache.read(shard)
        except StorageError as error:
            raise ShardError(str(error)) from None
        self._release(shard.sha256)
        return data

    def _release(self, name: str) -> None:
        self._demanded.discard(name)
        self._cache.needed[name] = self._later.get(name, NEVER)

    def abandon(self) -> None:
        """Let go of what is being fetched; later calls begin anew."""
        with self._lock:
            self._stop.set()
            self._stop = threading.Event()
            self._running.clear()
        for name in list(self._demanded):
            self._release(name)

    def _begin(self, shard: ShardEntry, needed: float, reading: bool = False) -> Future[bytes | None]:
        with self._lock:
            running = self._running.get(shard.sha256)
            if running is None:
                running = self._pool.submit(self._fetch, shard, needed, self._stop, reading)
                self._running[shard.sha256] = running
                running.add_done_callback(lambda done: self._forget(shard, done))
            return running

    def _forget(self, shard: ShardEntry, done: Future[bytes | None]) -> None:
        """An error that nobody waited for is not kept: who reads the shard makes attempts of their own."""
        with self._lock:
            if self._running.get(shard.sha256) is done:
                del self._running[shard.sha256]

    def _fetch(self, shard: ShardEntry, needed: float, stop: threading.Event, reading: bool) -> bytes | None:
        what, begun = f"{self._folder}/{shard.name}", time.monotonic()
        longest = deadline_after(self._folder.patience, shard.bytes)

        def wait(seconds: float) -> None:
            if ending(stop):
                raise StorageError(f"{what}: stopped")
            if time.monotonic() > begun + longest:
                cache = f"{self._cache.folder}, of {self._cache.size / 1e6:.1f} MB"
                raise StorageError(f"{what}: the cache {cache}, had no room for {longest:.0f} s: enlarge it")
            time.sleep(seconds)

        wait(0)
        try:
            with self._cache.filling(shard, needed, wait) as file:
                if file is not None:
                    download = _Download(self._folder, shard, file, stop)
                    persist(download.attempt, what, download.deadline, stop)
        except StorageError as error:
            raise StorageError(str(error) if what in str(error) else f"{what}: {error}") from None
        return self._cache.read(shard) if reading else None


def deadline_after(patience: Patience, received: int) -> float:
    """Seconds after which no more is hoped for, of a download of which some bytes were received."""
    return patience.deadline + SECONDS_PER_MEGABYTE * received / 1e6


class _Download:
    """A shard on its way into a file, over several attempts, each from where the one before ended."""

    def __init__(self, folder: Bucket, shard: ShardEntry, file: BinaryIO, stop: threading.Event) -> None:
        self._folder, self._shard, self._file, self._stop = folder, shard, file, stop
        self._begun, self._received, self._damages = time.monotonic(), 0, 0
        self._tag: str | None = None
        self._restart()

    def deadline(self) -> float:
        """In seconds from the beginning, after what was received so far."""
        return deadline_after(self._folder.patience, self._received)

    def _restart(self) -> None:
        self._file.seek(0)
        self._digest, self._offset, self._tag = sha256(), 0, None

    def attempt(self) -> None:
        """One request.

        Raises:
            TransientError: If the shard did not come whole.
            StorageError: If it will not, or no longer needs to.
        """
        shard = self._shard
        try:
            size, self._tag, pieces = self._folder.stream(shard.name, self._offset, self._tag)
            if size != shard.bytes:
                self._count_damage(f"has {size} bytes, the manifest says {shard.bytes}")
            for piece in pieces:
                self._take(piece)
        except ChangedError as error:
            self._count_damage(str(error))
        if self._offset != shard.bytes:
            raise TransientError(f"ended after {self._offset} of {shard.bytes} bytes")
        if self._digest.hexdigest() != shard.sha256:
            self._count_damage("its SHA-256 is not the manifest's")

    def _take(self, piece: bytes) -> None:
        if ending(self._stop):
            raise StorageError("stopped")
        if time.monotonic() > self._begun + self.deadline():
            raise StorageError(f"came too slowly: {self._offset} of {self._shard.bytes} bytes by the deadline")
        self._digest.update(piece)
        self._file.write(piece)
        self._offset += len(piece)
        self._received += len(piece)

    def _count_damage(self, told: str) -> None:
        self._damages += 1
        self._restart()
        if self._damages == DAMAGES:
            raise StorageError(f"{told}, in {DAMAGES} attempts: copy or prepare it again")
        raise TransientError(told)
