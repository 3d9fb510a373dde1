"""LocalFolder: a folder of a file system."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path

from filelock import FileLock, Timeout

from seqviews.pipeline.files import is_temporary, make_folder, write_atomically
from seqviews.pipeline.records import ShardError
from seqviews.pipeline.storage.folder import Folder, Prefetcher, StoredFile


@dataclass(frozen=True, slots=True)
class LocalFolder(Folder):
    """A folder of a file system.

    A file that is put with metadata gets a receipt `.NAME.json` that holds them, written before the file.
    """

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str) -> LocalFolder:
        """Return a folder in this one."""
        return LocalFolder(self.path / name)

    @property
    def name(self) -> str:
        """The last part of its absolute path."""
        return self.path.resolve().name

    def exists(self) -> bool:
        """Whether it exists."""
        return self.path.is_dir()

    def has(self, name: str) -> bool:
        """Whether a file exists in it."""
        return (self.path / name).is_file()

    def get(self, name: str, limit: int) -> bytes | None:
        """Return the first `limit` bytes of a file, or None if it does not exist."""
        if not self.has(name):
            return None
        with (self.path / name).open("rb") as file:
            return file.read(limit)

    def prefetcher(self) -> Prefetcher:
        """Return a reader that needs no cache."""
        return _LocalReader(self.path)

    def is_empty(self) -> bool:
        """Whether it holds no files but temporary ones, or does not exist."""
        return not self.path.exists() or (self.path.is_dir() and all(map(is_temporary, self.path.iterdir())))

    def head(self, name: str) -> dict[str, str] | None:
        """Return the metadata of a file, its `size` and `sha256`; None if it is missing or damaged."""
        if not self.has(name):
            return None
        receipt = self._receipt(name)
        with (self.path / name).open("rb") as file:
            metadata = {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size": str(file.tell())}
        put = json.loads(receipt.read_bytes()) if receipt.is_file() else metadata
        return {**put, **metadata} if put["sha256"] == metadata["sha256"] else None

    def put(self, name: str, data: bytes, metadata: Mapping[str, str]) -> bool:
        """Write a file atomically unless it has these bytes already; its folder is created."""
        path = self.path / name
        make_folder(self.path)
        if metadata:
            receipt = {**metadata, "sha256": hashlib.sha256(data).hexdigest()}
            write_atomically(self._receipt(name), json.dumps(receipt).encode())
        if path.is_file() and path.read_bytes() == data:
            return False
        try:
            write_atomically(path, data)
        except FileNotFoundError:  # another process, which found all shards finished, removed what was left unfinished
            write_atomically(path, data)
        return True

    def remove(self, name: str) -> None:
        """Remove a file and its receipt, if it exists."""
        (self.path / name).unlink(missing_ok=True)
        self._receipt(name).unlink(missing_ok=True)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a lock on a file, by another file, as Windows lets nobody read one that is locked."""
        path = self.path / f".{name}.lock"
        try:
            lock = FileLock(path, fallback_to_soft=False).acquire(blocking=False)
        except Timeout:
            raise BlockingIOError(f"another preparation is writing to {self}: wait until it has ended") from None
        with lock:
            try:
                yield
            finally:
                with suppress(OSError):  # Windows cannot remove it yet; there filelock does
                    path.unlink()

    def remove_temporaries(self) -> None:
        """Remove unfinished files here and below."""
        for path in filter(is_temporary, self.path.rglob(".*")):
            path.unlink(missing_ok=True)

    def remove_receipts(self) -> None:
        """Remove the receipts of the shards in this folder."""
        for path in self.path.glob(".*.tar.json"):
            path.unlink()

    def _receipt(self, name: str) -> Path:
        return self.path / f".{name}.json"


@dataclass(frozen=True, slots=True)
class _LocalReader(Prefetcher):
    """Maps files when asked to; the operating system's page cache does the rest."""

    path: Path

    def read(self, file: StoredFile) -> bytes | mmap:
        path = self.path / file.name
        try:
            size = path.stat().st_size
            if size != file.bytes:
                raise ShardError(f"{path}: has {size} bytes, the manifest says {file.bytes}: copy or prepare it again")
            with path.open("rb") as stored:
                data = mmap(stored.fileno(), file.bytes, access=ACCESS_READ) if file.bytes else b""
                # not by the mapping, whose pages would be resident
                digest = hashlib.file_digest(stored, "sha256").hexdigest()
        except OSError as error:
            raise ShardError(f"{path}: cannot be read: {error.strerror}") from error
        if digest != file.sha256:
            raise ShardError(f"{path}: its SHA-256 is not the manifest's, so it is damaged: copy or prepare it again")
        return data
