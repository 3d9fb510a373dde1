"""ShardCache: shards that come from afar, kept in a folder of bounded size that several processes share."""

from __future__ import annotations

import asyncio
import fcntl
import functools
import os
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from seqviews.pipeline.manifest import ShardEntry
from seqviews.pipeline.storage.folder import Cache, StorageError

# a reader's thread waits for its shard before the next ones are read: these must not keep the room from it
WAITED, NEXT, NEVER = -1.0, 0.0, float("inf")
POLL = 0.02
PRIVATE = MAP_PRIVATE | MAP_ANONYMOUS


class User(Protocol):
    """Who reads from a cache."""

    def needs(self, name: str) -> float:
        """How soon it needs the shard of this SHA-256: `WAITED` for, read `NEXT`, in how many windows, or `NEVER`."""


class ShardCache:
    """Files named by their SHA-256; `shared_cache` gives the one of a folder.

    A shard that is being written has the name `*.part`, its whole size from the beginning, and a lock, which ends with
    its process however that ends: so the sizes of the files always tell what is taken, nothing is written twice at a
    time, and what a process that was killed left behind is known by its missing lock.

    Args:
        place: The folder and the bytes it may take.

    Attributes:
        size: The bytes it may take.

    Raises:
        StorageError: If the folder cannot be written to.
    """

    def __init__(self, place: Cache) -> None:
        self.folder, self.size = place.folder, place.size
        self._users: weakref.WeakSet[User] = weakref.WeakSet()
        self._checked: dict[str, tuple[int, int, int]] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._clear_stale()
        except OSError as error:
            raise self._failure(error) from None

    def _failure(self, error: OSError) -> StorageError:
        return StorageError(
            f"the cache {self.folder} cannot be used ({error.strerror}): make room there, or set XDG_CACHE_HOME"
        )

    def serve(self, user: User) -> None:
        """Make room by what this user needs, too: what none needs goes first, what they need last goes next."""
        self._users = weakref.WeakSet([*self._users, user])  # another thread may be going through the old one

    def needs(self, name: str) -> float:
        """How soon any of the users needs a shard."""
        return min((user.needs(name) for user in self._users), default=NEVER)

    def has(self, shard: ShardEntry) -> bool:
        """Whether a shard is there; not whether it is whole."""
        return self._path(shard).exists()

    def read(self, shard: ShardEntry) -> mmap | None:
        """The bytes of a shard; None if it is not there, or was damaged, in which case it is removed.

        It is hashed when this process sees it for the first time, and again when its size, time or inode changes.
        """
        data = mmap(-1, shard.bytes, PRIVATE)  # goes back to the system whole: in threads' heaps shards leave holes
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

    async def fill(self, shard: ShardEntry, write: Callable[[BinaryIO], Awaitable[None]]) -> None:
        """Let `write` fill a file that becomes part of the cache if it raises nothing; not if the shard is there.

        Waits while another process writes the shard. What is needed later makes room; where that is not enough, a shard
        that is `WAITED` for waits for room, another is left.

        Raises:
            StorageError: If it cannot be written.
        """
        part = self._path(shard).with_suffix(".part")
        try:
            file = await self._lock_part(part, shard)
            if file is None:
                return
            with file:
                try:
                    while not (reserved := self._reserve(file, part, shard)) and self.needs(shard.sha256) == WAITED:
                        await asyncio.sleep(POLL)
                    if reserved:
                        await write(file)
                        file.flush()
                except BaseException:
                    part.unlink()
                    raise
                if reserved:
                    part.rename(self._path(shard))
                    self._checked[shard.sha256] = _identity(file)
                else:
                    part.unlink()
        except StorageError:
            raise
        except OSError as error:
            raise self._failure(error) from None

    async def _lock_part(self, part: Path, shard: ShardEntry) -> BinaryIO | None:
        while not self.has(shard):
            file = os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b")
            if _try_lock(file):
                # another process may have finished or removed it between opening and locking
                with suppress(FileNotFoundError):
                    if part.stat().st_ino == os.fstat(file.fileno()).st_ino and not self.has(shard):
                        return file
                    if self.has(shard):
                        part.unlink()
            file.close()
            await asyncio.sleep(POLL)
        return None

    def _reserve(self, file: BinaryIO, part: Path, shard: ShardEntry) -> bool:
        """Give a file its whole size, after what is needed later than it was removed as far as that takes."""
        with self._locked():
            self._clear_stale()
            files = [(path, stat) for path, stat in self._files() if path != part]
            excess = sum(stat.st_size for _, stat in files) + shard.bytes - self.size
            victims = []
            if excess > 0:
                needed = self.needs(shard.sha256)
                kept = [(self.needs(path.stem), -stat.st_mtime_ns, path, stat.st_size) for path, stat in files]
                for when, _, path, freed in sorted(kept, reverse=True):
                    if excess > 0 and path.suffix == ".tar" and when > needed:
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
                if _try_lock(file):
                    part.unlink()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Only one process at a time looks at the sizes and takes room."""
        with (self.folder / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _path(self, shard: ShardEntry) -> Path:
        return self.folder / f"{shard.sha256}.tar"


@functools.cache
def shared_cache(place: Cache) -> ShardCache:
    """The cache of a folder, the same for all data sets of this process."""
    return ShardCache(place)


def _identity(file: IO[bytes]) -> tuple[int, int, int]:
    stat = os.fstat(file.fileno())
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
