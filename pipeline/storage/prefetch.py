"""CachePrefetcher: fetches shards from object storage into the cache ahead of use, several at once, each checked."""

import asyncio
import atexit
import functools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import CancelledError, Future
from hashlib import sha256
from mmap import mmap
from typing import BinaryIO, TypeAlias

from seqviews.pipeline.records import ShardError
from seqviews.pipeline.storage.cache import NEVER, NEXT, WAITED_FOR, shared_cache
from seqviews.pipeline.storage.folder import Cache, Prefetcher, StorageError, StoredFile, Timeouts, TransientError

PARALLEL = 8
ATTEMPTS = 3
SECONDS_PER_MEGABYTE = 20
POLL = 0.5

Open: TypeAlias = Callable[[str], Awaitable[tuple[int, AsyncIterator[bytes]]]]
"""Starts the download of a file: its size, and its bytes in pieces."""


class CachePrefetcher(Prefetcher):
    """The shards of the split at a URL in object storage, through the cache.

    One thread fetches all shards of a process, by coroutines, which can be cancelled at any moment. Raises `ShardError`
    if the cache cannot be used.
    """

    def __init__(self, url: str, open: Open, cache: Cache, timeouts: Timeouts) -> None:
        self.cache: Cache = cache
        self._url, self._open, self._timeouts = url, open, timeouts
        try:
            self._files = shared_cache(cache)
        except StorageError as error:
            raise ShardError(f"{url}: {error}") from None
        self._files.add_reader(self)
        self._slots = asyncio.Semaphore(PARALLEL)
        self._running: dict[str, Future[mmap | None]] = {}
        self._lock = threading.RLock()
        self._next: set[str] = set()
        self._waited_for: set[str] = set()
        self._later: Callable[[str], float] = lambda sha256: NEVER

    def priority(self, sha256: str) -> float:
        """Return how soon a shard is read; see `cache.Reader`."""
        if sha256 in self._waited_for:
            return WAITED_FOR
        return NEXT if sha256 in self._next else self._later(sha256)

    def prefetch_now(self, files: Sequence[StoredFile]) -> None:
        """Start to fetch shards that will be read next."""
        self._next.update(file.sha256 for file in files)
        self._start_missing(files)

    def prefetch(self, files: Sequence[StoredFile], priority: Callable[[str], float]) -> None:
        """Start to fetch shards that will be read later, as far as the cache has room."""
        self._later = priority
        self._start_missing(files)

    def read(self, file: StoredFile) -> mmap:
        """Return the bytes of a shard; fetch it if necessary."""
        try:
            data = self._files.read(file)
            while data is None:
                self._waited_for.add(file.sha256)
                data = _result(self._start(file)) or self._files.read(file)
        except StorageError as error:
            raise ShardError(f"{self._url}/{file.name}: {error}") from None
        finally:
            self._waited_for.discard(file.sha256)
        self._next.discard(file.sha256)
        return data

    def cancel(self) -> None:
        """Cancel what is being fetched; later calls start again."""
        self._next.clear()
        with self._lock:
            running = list(self._running.values())
        for future in running:
            future.cancel()

    def _start_missing(self, files: Sequence[StoredFile]) -> None:
        for file in files:
            if not self._files.has(file):
                self._start(file)

    def _start(self, file: StoredFile) -> Future[mmap | None]:
        with self._lock:
            future = self._running.get(file.sha256)
            if future is None:
                future = asyncio.run_coroutine_threadsafe(self._fetch(file), _loop())
                self._running[file.sha256] = future
                future.add_done_callback(lambda done: self._forget(file, done))
            return future

    def _forget(self, file: StoredFile, done: Future[mmap | None]) -> None:
        """Drop the future, also one with an error that nobody waited for: a later read starts again."""
        with self._lock:
            if self._running.get(file.sha256) is done:
                del self._running[file.sha256]

    async def _fetch(self, file: StoredFile) -> mmap | None:
        """Fetch a shard into the cache; return its bytes if a thread waits for it, as it may be evicted at once."""
        download = _Download(self._open, file, self.cache)
        seconds = self._timeouts.deadline + SECONDS_PER_MEGABYTE * file.bytes / 1e6
        async with self._slots:
            try:
                async with asyncio.timeout(seconds):
                    await self._files.fill(file, download.write)
            except TimeoutError:
                raise StorageError(f"{download.state}; gave up after {seconds:.0f} s") from None
        return self._files.read(file) if self.priority(file.sha256) == WAITED_FOR else None


class _Download:
    """A download into a file; `state` describes what it is waiting for."""

    def __init__(self, open: Open, file: StoredFile, cache: Cache) -> None:
        self._open, self._file = open, file
        self.state = f"the cache of {cache.size / 1e6:.1f} MB has no room, or another process is fetching it"

    async def write(self, output: BinaryIO) -> None:
        """Fill the output. obstore resumes a broken connection; damaged data is fetched again."""
        for _ in range(ATTEMPTS):
            try:
                return await self._attempt(output)
            except TransientError as error:
                cause = error
        raise StorageError(f"{cause}; gave up after {ATTEMPTS} attempts")

    async def _attempt(self, output: BinaryIO) -> None:
        expected, digest = self._file, sha256()
        self.state = "the server does not answer"
        size, pieces = await self._open(expected.name)
        if size != expected.bytes:
            raise TransientError(f"has {size} bytes, the manifest says {expected.bytes}")
        output.seek(0)
        async for piece in pieces:
            digest.update(piece)
            output.write(piece)
            self.state = f"only {output.tell()} of {expected.bytes} bytes have arrived"
        if output.tell() != expected.bytes or digest.hexdigest() != expected.sha256:
            raise TransientError("its SHA-256 is not the manifest's")


def _result(future: Future[mmap | None]) -> mmap | None:
    """Wait for a fetch as long as the main thread lives."""
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
    """Return the event loop of all prefetchers, which runs in its own thread until the process ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="seqviews-fetch", daemon=True)
    thread.start()

    async def cancel() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        loop.stop()

    @atexit.register
    def end() -> None:
        asyncio.run_coroutine_threadsafe(cancel(), loop)
        thread.join(5)

    return loop
