"""Fetcher: shards from object storage into the cache, ahead of need, several at once, each checked as it comes."""

from __future__ import annotations

import asyncio
import atexit
import functools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from hashlib import sha256
from mmap import mmap
from typing import BinaryIO

from seqviews.pipeline.manifest import ShardEntry
from seqviews.pipeline.records import ShardError
from seqviews.pipeline.storage.bucket import Bucket
from seqviews.pipeline.storage.cache import NEVER, NEXT, WAITED, shared_cache
from seqviews.pipeline.storage.folder import Cache, StorageError, TransientError

PARALLEL = 8
ATTEMPTS = 3
SECONDS_PER_MEGABYTE = 20
POLL = 0.5


class Fetcher:
    """The shards of one split in a bucket, through the cache.

    All of a process are fetched in one thread, by coroutines: these can be given up at any moment.

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
        self._cache.serve(self)
        self._slots = asyncio.Semaphore(PARALLEL)
        self._running: dict[str, Future[mmap | None]] = {}
        self._lock = threading.RLock()
        self._demanded: set[str] = set()
        self._waited: set[str] = set()
        self._when: Callable[[str], float] = lambda name: NEVER

    @property
    def place(self) -> Cache:
        """Of the cache."""
        return self._folder.cache

    def needs(self, name: str) -> float:
        """How soon a shard is needed, by its SHA-256."""
        if name in self._waited:
            return WAITED
        return NEXT if name in self._demanded else self._when(name)

    def demand(self, shards: Sequence[ShardEntry]) -> None:
        """Begin to fetch shards that will be read next."""
        for shard in shards:
            self._demanded.add(shard.sha256)
            if not self._cache.has(shard):
                self._begin(shard)

    def expect(self, shards: Sequence[ShardEntry], when: Callable[[str], float]) -> None:
        """Begin to fetch shards that will be read later, as far as there is room.

        Args:
            shards: What to fetch.
            when: Says by SHA-256 in how many windows a shard is needed, from now on until the next call.
        """
        self._when = when
        for shard in shards:
            if not self._cache.has(shard):
                self._begin(shard)

    def read(self, shard: ShardEntry) -> mmap:
        """The bytes of a shard, which are what the manifest says.

        Raises:
            ShardError: If they cannot be had within the deadline.
        """
        try:
            data = self._cache.read(shard)
            while data is None:
                self._waited.add(shard.sha256)
                data = _result(self._begin(shard)) or self._cache.read(shard)
        except StorageError as error:
            raise ShardError(f"{self._folder}/{shard.name}: {error}") from None
        finally:
            self._waited.discard(shard.sha256)
        self._demanded.discard(shard.sha256)
        return data

    def abandon(self) -> None:
        """Let go of what is being fetched; later calls begin anew."""
        self._demanded.clear()
        with self._lock:
            running = list(self._running.values())
        for future in running:
            future.cancel()

    def _begin(self, shard: ShardEntry) -> Future[mmap | None]:
        with self._lock:
            future = self._running.get(shard.sha256)
            if future is None:
                future = asyncio.run_coroutine_threadsafe(self._fetch(shard), _loop())
                self._running[shard.sha256] = future
                future.add_done_callback(lambda done: self._forget(shard, done))
            return future

    def _forget(self, shard: ShardEntry, done: Future[mmap | None]) -> None:
        """An error that nobody waited for is not kept: who reads the shard begins anew."""
        with self._lock:
            if self._running.get(shard.sha256) is done:
                del self._running[shard.sha256]

    async def _fetch(self, shard: ShardEntry) -> mmap | None:
        """Bring a shard into the cache; its bytes, if somebody waits for it: then it may go from there at once.

        Raises:
            StorageError: If it does not come whole within the deadline.
        """
        download = _Download(self._folder, shard)
        longest = self._folder.patience.deadline + SECONDS_PER_MEGABYTE * shard.bytes / 1e6
        async with self._slots:
            try:
                async with asyncio.timeout(longest):
                    await self._cache.fill(shard, download.write)
            except TimeoutError:
                raise StorageError(f"{download.state}; given up after {longest:.0f} s") from None
        return self._cache.read(shard) if self.needs(shard.sha256) == WAITED else None


class _Download:
    """A shard on its way into a file; `state` tells what is being waited for."""

    def __init__(self, folder: Bucket, shard: ShardEntry) -> None:
        self._folder, self._shard = folder, shard
        self.state = f"the cache of {folder.cache.size / 1e6:.1f} MB has no room, or another process is at it"

    async def write(self, file: BinaryIO) -> None:
        """Fill the file. A connection that breaks is for obstore; what came damaged is fetched anew.

        Raises:
            StorageError: If it is not there, was damaged each time, or the server gave no answer.
        """
        for _ in range(ATTEMPTS):
            try:
                return await self._attempt(file)
            except TransientError as error:
                cause = error
        raise StorageError(f"{cause}; given up after {ATTEMPTS} attempts")

    async def _attempt(self, file: BinaryIO) -> None:
        shard, digest = self._shard, sha256()
        self.state = "the server does not answer"
        size, pieces = await self._folder.stream(shard.name)
        if size != shard.bytes:
            raise TransientError(f"has {size} bytes, the manifest says {shard.bytes}")
        file.seek(0)
        async for piece in pieces:
            digest.update(piece)
            file.write(piece)
            self.state = f"only {file.tell()} of {shard.bytes} bytes have come"
        if file.tell() != shard.bytes or digest.hexdigest() != shard.sha256:
            raise TransientError("its SHA-256 is not the manifest's")


def _result(future: Future[mmap | None]) -> mmap | None:
    """Wait for a fetch, as long as there is a main thread that may want it."""
    while True:
        try:
            return future.result(POLL)
        except CancelledError:
            raise StorageError("stopped") from None
        except TimeoutError:
            if not threading.main_thread().is_alive():
                raise StorageError("stopped") from None


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of all fetchers, in a thread of its own, until the process ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="seqviews-fetch", daemon=True)
    thread.start()

    async def cancel() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        loop.stop()

    def end() -> None:
        asyncio.run_coroutine_threadsafe(cancel(), loop)
        thread.join(5)

    atexit.register(end)
    return loop
