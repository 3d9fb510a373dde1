"""ShardCache: shards that come from afar, kept in a folder of bounded size that several processes share."""

from __future__ import annotations

import fcntl
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import IO, BinaryIO

from seqviews.pipeline.manifest import ShardEntry
from seqviews.pipeline.storage import Cache, StorageError

NOW = -1.0
NEVER = float("inf")
POLL = 0.02


class ShardCache:
    """Files named by their SHA-256; `shared_cache` gives the one of a folder.

    A shard that is being written has the name `*.part`, its whole size from the beginning, and a lock, which ends with
    its process however that ends: so the sizes of the files always tell what is taken, nothing is written twice at a
    time, and what a process that was killed left behind is known by its missing lock.

    Args:
        place: The folder and the bytes it may take.

    Attributes:
        size: The bytes it may take.
        needed: By SHA-256, how soon this process needs a shard, smaller is sooner. What no process here needs goes
            first, what is needed last goes next.

    Raises:
        StorageError: If the folder cannot be written to.
    """

    def __init__(self, place: Cache) -> None:
        self.folder, self.size = place.folder, place.size
        self.needed: dict[str, float] = {}
        self._checked: dict[str, tuple[int, int, int]] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._clear_stale()
        except OSError as error:
            raise self.failure(error) from None

    def failure(self, error: OSError) -> StorageError:
        """An error of the file system, told with what to do."""
        return StorageError(
            f"the cache {self.folder} cannot be written to ({error.strerror}): make room there, or set XDG_CACHE_HOME"
        )

    def has(self, shard: ShardEntry) -> bool:
        """Whether a shard is there; not whether it is whole."""
        return self._path(shard).exists()

    def read(self, shard: ShardEntry) -> bytes | None:
        """The bytes of a shard; None if it is not there, or was damaged, in which case it is removed.

        It is hashed when this process sees it for the first time, and again when its size, time or inode changes.
        """
        try:
            with self._path(shard).open("rb") as file:
                found, data = _identity(file), file.read(shard.bytes + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self.failure(error) from None
        if self._checked.get(shard.sha256) != found:
            if sha256(data).hexdigest() != shard.sha256:
                self._path(shard).unlink(missing_ok=True)
                return None
            self._checked[shard.sha256] = found
        return data

    @contextmanager
    def filling(self, shard: ShardEntry, needed: float, wait: Callable[[float], None]) -> Iterator[BinaryIO | None]:
        """A file to write a shard to, which becomes part of the cache if the block ends without an exception.

        Args:
            shard: What is to be written; another process that wants it too waits.
            needed: How soon: only what is needed later makes room for it. `NOW` is sooner than everything.
            wait: Called with seconds to wait, when there is no room, or another process writes the shard; may raise.

        Yields:
            The file; None if the shard is there already, or there is no room and it is not needed now.

        Raises:
            StorageError: If it cannot be written.
        """
        part = self._path(shard).with_suffix(".part")
        try:
            file = self._lock_part(part, shard, wait)
            if file is None:
                yield None
                return
            with file:
                try:
                    while not (reserved := self._reserve(file, part, shard.bytes, needed)) and needed == NOW:
                        wait(POLL)
                    yield file if reserved else None
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
            raise self.failure(error) from None

    def _lock_part(self, part: Path, shard: ShardEntry, wait: Callable[[float], None]) -> BinaryIO | None:
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
            wait(POLL)
        return None

    def _reserve(self, file: BinaryIO, part: Path, size: int, needed: float) -> bool:
        """Give a file its whole size, after what is needed later than it was removed as far as that takes."""
        with self._locked():
            self._clear_stale()
            files = [(path, stat) for path, stat in self._files() if path != part]
            excess = sum(stat.st_size for _, stat in files) + size - self.size
            kept = [(self.needed.get(path.stem, NEVER), -stat.st_mtime_ns, path, stat.st_size) for path, stat in files]
            victims = []
            for when, _, path, freed in sorted(kept, reverse=True):
                if excess > 0 and path.suffix == ".tar" and when > needed:
                    victims.append(path)
                    excess -= freed
            if excess > 0:
                return False
            for path in victims:
                path.unlink(missing_ok=True)
            file.truncate(size)
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
