"""Folder: what every store offers, whether a data set is on disk or in object storage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from mmap import mmap
from pathlib import Path
from typing import ClassVar, Protocol

from seqviews.pipeline.files import cache_folder

MANIFEST = "manifest.json"
CACHE_SIZE = 16_000_000_000


class StorageError(OSError):
    """A storage request failed: the message names the location and the reason, and holds no secret."""


class TransientError(StorageError):
    """There was no answer, or a wrong one: another attempt may succeed."""


@dataclass(frozen=True, slots=True)
class Cache:
    """The folder, shared by all processes and data sets, that keeps shards from object storage; `size` is in bytes."""

    folder: Path = field(default_factory=lambda: cache_folder("shards"))
    size: int = CACHE_SIZE


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds, for object storage that does not answer, or answers wrongly."""

    stall: float = 5.0  # without a byte, after which a request is abandoned and repeated
    deadline: float = 60.0  # after which a request is not repeated; a download has 20 more for every megabyte


class StoredFile(Protocol):
    """The expected name, size in bytes and SHA-256 of a file."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def bytes(self) -> int: ...  # noqa: D102
    @property
    def sha256(self) -> str: ...  # noqa: D102


class Prefetcher:
    """Reads the files of one folder whole and checks them; object storage fetches them ahead of use into a cache."""

    cache: Cache | None = None
    """The cache that the files go through; None on disk, where only `read` does anything."""

    def read(self, file: StoredFile) -> bytes | mmap:
        """Return the bytes of a file; thread-safe. Raises `ShardError` if they are not the expected ones."""
        raise NotImplementedError

    def prefetch_now(self, files: Sequence[StoredFile]) -> None:
        """Start to fetch files that will be read next."""

    def prefetch(self, files: Sequence[StoredFile], priority: Callable[[str], float]) -> None:
        """Start to fetch files that will be read later, as far as the cache has room.

        `priority` maps a SHA-256 to the number of windows until that file is read; it is used until the next call.
        """

    def cancel(self) -> None:
        """Cancel what is being fetched; later calls start again."""


class Folder(ABC):
    """A data set, or a split of one. Its `str` is for people and holds no secret.

    All methods raise an `OSError`, in object storage a `StorageError`, if the store fails.
    """

    is_remote: ClassVar[bool] = False  # whether it is in object storage

    @abstractmethod
    def __truediv__(self, name: str) -> Folder:
        """Return a folder in this one."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The last part of its path or URL."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether it exists; in object storage, whether it holds a finished split."""

    def has(self, name: str) -> bool:
        """Whether a file exists in it."""
        return self.head(name) is not None

    @abstractmethod
    def get(self, name: str, limit: int) -> bytes | None:
        """Return the first `limit` bytes of a file, or None if it does not exist."""

    @abstractmethod
    def prefetcher(self) -> Prefetcher:
        """Return a new reader of its shards. Raises `ShardError` if the cache cannot be used."""

    def for_writing(self) -> Folder:
        """Return the same folder, set up for writing. Raises `ValueError` if it is read-only."""
        return self

    @abstractmethod
    def is_empty(self) -> bool:
        """Whether it holds no files but temporary ones, or does not exist."""

    @abstractmethod
    def head(self, name: str) -> dict[str, str] | None:
        """Return the metadata that a file was put with, its `size` and `sha256`; None if it does not exist.

        On disk the file is hashed, and None is returned also if its bytes are not those that were put.
        """

    @abstractmethod
    def put(self, name: str, data: bytes, metadata: Mapping[str, str]) -> bool:
        """Store a file whole or not at all, and return whether it was stored.

        Object storage replaces nothing; on disk, a file with other bytes is replaced. False is also returned if this
        call stored the file and the answer was lost.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file and its metadata, if it exists."""

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Hold a lock on an existing file for the block. Raises `BlockingIOError` if another process holds it.

        The lock ends with its process. Object storage needs none, as every put is conditional.
        """
        return nullcontext()

    @abstractmethod
    def remove_temporaries(self) -> None:
        """Remove here and below what killed processes left unfinished."""

    @abstractmethod
    def remove_receipts(self) -> None:
        """Remove the metadata of this folder's files where they are files of their own."""
