"""ShardCache: shards from object storage in a folder of bounded size that several processes share."""

import asyncio
import errno
import functools
import os
import stat
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from io import BufferedRandom, FileIO
from mmap import ACCESS_COPY, mmap
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from filelock import lock_descriptor

from seqviews.pipeline.files import make_cache, user_number
from seqviews.pipeline.storage.folder import Cache, StorageError, StoredFile

# a shard that a thread waits for comes before those that are read next, which must not take its room
WAITED_FOR, NEXT, NEVER = -1.0, 0.0, float("inf")
POLL = 0.02
# what opening a planted link, a socket, a folder or a file of another user raises
PLANTED = {errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EACCES}
UNTRUSTED = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)  # not on Windows


class Reader(Protocol):
    """A reader of a cache."""

    def priority(self, sha256: str) -> float:
        """Return how soon it reads a shard: `WAITED_FOR`, `NEXT`, the number of windows until then, or `NEVER`."""


class ShardCache:
    """Files named by their SHA-256; `shared_cache` returns the one of a folder. All methods raise `StorageError`.

    A shard that is being written is named `*.part`, has its whole size from the beginning, and is locked by its
    process. So the file sizes are always the space in use, no shard is written twice at a time, and a missing lock
    marks what a killed process left behind.

    Only regular files of this user are read or written. Anything else with the name of a file of the cache, which
    others may have planted, is removed; a link is never followed, and nothing can block.
    """

    def __init__(self, settings: Cache) -> None:
        self.folder, self.size = settings.folder, settings.size
        self._readers: weakref.WeakSet[Reader] = weakref.WeakSet()
        self._checked: dict[str, tuple[int, ...]] = {}
        try:
            make_cache(self.folder)
            with self._locked():
                self._clear_stale()
        except OSError as error:
            raise self._failure(error) from None

    def _failure(self, error: OSError) -> StorageError:
        cure = "make room there, or set XDG_CACHE_HOME"
        if not self.folder.is_dir():
            cure = "it is not there, or was removed during the run: start again"
        elif isinstance(error, IsADirectoryError):
            cure = f"remove {error.filename}"
        return StorageError(f"the cache {self.folder} cannot be used ({error.strerror or error}): {cure}")

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

        It is hashed when this process first reads it, and again when its size, times or inode changed, which the end
        of the reading must not hide.
        """
        data = mmap(-1, shard.bytes, access=ACCESS_COPY)  # freed as a whole; on the threads' heaps shards leave holes
        try:
            with _open(self._path(shard), os.O_RDONLY) as file:
                found = _identity(file)
                file.readinto(data)
                known = self._checked.get(shard.sha256) == _identity(file)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failure(error) from None
        if not known:
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
            file = _open(part, os.O_RDWR | os.O_CREAT)
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
                    yield path, path.lstat()

    def _clear_stale(self) -> None:
        for part in self.folder.glob("*.part"):
            with suppress(FileNotFoundError), _open(part, os.O_RDWR) as file:
                if lock_descriptor(file.fileno(), blocking=False):
                    part.unlink()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let only one process at a time compare the sizes and reserve room."""
        with _open(self.folder / "lock", os.O_RDWR | os.O_CREAT) as lock:
            lock_descriptor(lock.fileno(), poll_interval=POLL)
            yield

    def _path(self, shard: StoredFile) -> Path:
        return self.folder / f"{shard.sha256}.tar"


shared_cache = functools.cache(ShardCache)
"""Returns the cache of a folder, the same for all data sets of this process."""


def _open(path: Path, flags: int) -> BufferedRandom:
    """Open a regular file of this user that has no other name; remove anything else and, with `O_CREAT`, try again.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    try:
        number = os.open(path, flags | UNTRUSTED, 0o600)
    except OSError as error:
        if error.errno not in PLANTED:
            raise
    else:
        found = os.fstat(number)
        if stat.S_ISREG(found.st_mode) and found.st_uid == user_number() and found.st_nlink < 2:
            return BufferedRandom(FileIO(number, "r+"))
        os.close(number)
    path.unlink(missing_ok=True)
    if flags & os.O_CREAT:
        return _open(path, flags)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def _identity(file: IO[bytes]) -> tuple[int, ...]:
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
