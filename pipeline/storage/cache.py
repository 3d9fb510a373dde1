"""ShardCache: shards from object storage in a folder of bounded size that several processes share."""

from __future__ import annotations

import asyncio
import functools
import os
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from mmap import ACCESS_COPY, mmap
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from filelock import lock_descriptor

from seqviews.pipeline.storage.folder import Cache, StorageError, StoredFile

# a shard that a thread waits for comes before those that are read next, which must not take its room
WAITED_FOR, NEXT, NEVER = -1.0, 0.0, float("inf")
POLL = 0.02


class Reader(Protocol):
    """A reader of a cache."""

    def priority(self, sha256: str) -> float:
        """Return how soon it reads a shard: `WAITED_FOR`, `NEXT`, the number of windows until then, or `NEVER`."""


class ShardCache:
    """Files named by their SHA-256; `shared_cache` returns the one of a folder. All methods raise `StorageError`.

    A shard that is being written is named `*.part`, has its whole size from the beginning, and is locked by its
    process. So the file sizes are always the space in use, no shard is written twice at a time, and a missing lock
    marks what a killed process left behind.
    """

    def __init__(self, settings: Cache) -> None:
        self.folder, self.size = settings.folder, settings.size
        self._readers: weakref.WeakSet[Reader] = weakref.WeakSet()
        self._checked: dict[str, tuple[int, int, int]] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._clear_stale()
        except OSError as error:
            raise self._failure(error) from None

    def _failure(self, error: OSError) -> StorageError:
        reason = f"cannot be used ({error.strerror}): make room there, or set XDG_CACHE_HOME"
        return StorageError(f"the cache {self.folder} {reason}")

    def add_reader(self, reader: Reader) -> None:
        """Let this reader's priorities count, too: shards that are read last, or never, are evicted first."""
        self._readers = weakref.WeakSet([*self._readers, reader])  # another thread may iterate over the old set

    def priority(self, sha256: str) -> float:
        """Return how soon any reader reads a shard."""
        return min((reader.priority(sha256) for reader in self._readers), default=NEVER)

    def has(self, shard: StoredFile) -> bool:
        """Whether a shard is in the cache, possibly damaged."""
        return self._path(shard).exists()

    def read(self, shard: StoredFile) -> mmap | None:
        """Return the bytes of a shard; None if it is missing, or damaged, in which case it is removed.

        It is hashed when this process first reads it, and again when its size, time or inode changes.
        """
        data = mmap(-1, shard.bytes, access=ACCESS_COPY)  # freed as a whole; on the threads' heaps shards leave holes
        try:
            with self._path(shard).open("rb") as file:
                found = _identity(file)
                file.readinto(data)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failure(error) from None
        if self._checked.get(shard.sha256) != found:
            if found[0] != shard.bytes or sha256(data).hexdigest() != shard.sha256:
                self._path(shard).unlink(missing_ok=True)
                return None
            self._checked[shard.sha256] = found
        return data

    async def fill(self, shard: StoredFile, write: Callable[[BinaryIO], Awaitable[None]]) -> None:
        """Let `write` fill a new file of the cache, unless the shard is there or `write` raises.

        Waits while another process writes the shard. Shards of lower priority are evicted; if that makes too little
        room, a shard that is `WAITED_FOR` waits for room, any other is skipped.
        """
        part = self._path(shard).with_suffix(".part")
        try:
            file = await self._lock_part(part, shard)
            if file is None:
                return
            with file:
                try:
                    while not self._reserve(file, part, shard):
                        if self.priority(shard.sha256) != WAITED_FOR:
                            part.unlink()
                            return
                        await asyncio.sleep(POLL)
                    await write(file)
                    file.flush()
                except BaseException:
                    part.unlink(missing_ok=True)
                    raise
                part.rename(self._path(shard))
                self._checked[shard.sha256] = _identity(file)
        except StorageError:
            raise
        except OSError as error:
            raise self._failure(error) from None

    async def _lock_part(self, part: Path, shard: StoredFile) -> BinaryIO | None:
        while not self.has(shard):
            file = os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b")
            if lock_descriptor(file.fileno(), blocking=False):
                # another process may have finished or removed the file between opening and locking
                with suppress(FileNotFoundError):
                    if part.stat().st_ino == os.fstat(file.fileno()).st_ino and not self.has(shard):
                        return file
                    if self.has(shard):
                        part.unlink()
            file.close()
            await asyncio.sleep(POLL)
        return None

    def _reserve(self, file: BinaryIO, part: Path, shard: StoredFile) -> bool:
        """Give a file its whole size, after evicting as many shards of lower priority as necessary."""
        with self._locked():
            self._clear_stale()
            files = [(path, stat) for path, stat in self._files() if path != part]
            excess = sum(stat.st_size for _, stat in files) + shard.bytes - self.size
            victims = []
            if excess > 0:
                own = self.priority(shard.sha256)
                kept = [(self.priority(path.stem), -stat.st_mtime_ns, path, stat.st_size) for path, stat in files]
                for priority, _, path, freed in sorted(kept, reverse=True):
                    if excess > 0 and path.suffix == ".tar" and priority > own:
                        victims.append(path)
                        excess -= freed
            if excess > 0:
                return False
            for path in victims:
                path.unlink(missing_ok=True)
            file.truncate(shard.bytes)
            return True

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self.folder.iterdir():
            if path.suffix in {".tar", ".part"}:
                with suppress(FileNotFoundError):
                    yield path, path.stat()

    def _clear_stale(self) -> None:
        for part in self.folder.glob("*.part"):
            with suppress(FileNotFoundError), part.open("rb") as file:
                if lock_descriptor(file.fileno(), blocking=False):
                    part.unlink()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let only one process at a time compare the sizes and reserve room."""
        with (self.folder / "lock").open("ab") as lock:
            lock_descriptor(lock.fileno(), poll_interval=POLL)
            yield

    def _path(self, shard: StoredFile) -> Path:
        return self.folder / f"{shard.sha256}.tar"


shared_cache = functools.cache(ShardCache)
"""Returns the cache of a folder, the same for all data sets of this process."""


def _identity(file: IO[bytes]) -> tuple[int, int, int]:
    stat = os.fstat(file.fileno())
    return stat.st_size, stat.st_mtime_ns, stat.st_ino
