"""Folder: where a data set is, on disk or in object storage, and what can be asked of it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

BUCKETS = ("s3", "gs", "az", "http", "https")
MANIFEST = "manifest.json"
CACHE_SIZE = 16_000_000_000


class StorageError(OSError):
    """Storage did not do what it was asked: the message says where and why, and holds no secret."""


class TransientError(StorageError):
    """There was no answer, or not the one that was asked for: another attempt may be better."""


@dataclass(frozen=True, slots=True)
class Cache:
    """Where shards that come from afar are kept on this machine.

    Attributes:
        folder: Shared by all processes and data sets.
        size: Bytes that it may take.
    """

    folder: Path = field(default_factory=lambda: _cache_home() / "seqviews" / "shards")
    size: int = CACHE_SIZE


@dataclass(frozen=True, slots=True)
class Patience:
    """How long storage that does not answer, or answers wrongly, is given.

    Attributes:
        stall: Seconds without a byte after which a request is given up and made again.
        deadline: Seconds after which no request is made again, and after which, and twenty more for every megabyte of
            it, a shard is given up.
    """

    stall: float = 5.0
    deadline: float = 60.0


class Folder(ABC):
    """A data set, or a split of one. Its `str` is for people: it holds no secret."""

    @abstractmethod
    def __truediv__(self, name: str) -> Folder:
        """A folder in this one."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The last part of where it is."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether it is there; in object storage, whether a finished split is."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether a file is in it.

        Raises:
            StorageError: If that cannot be told.
        """

    @abstractmethod
    def get(self, name: str, limit: int) -> bytes | None:
        """The first `limit` bytes of a file, or None if it is not there.

        Raises:
            OSError: If it cannot be read.
        """


@dataclass(frozen=True, slots=True)
class LocalFolder(Folder):
    """A folder of a file system."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str) -> LocalFolder:
        """A folder in this one."""
        return LocalFolder(self.path / name)

    @property
    def name(self) -> str:
        """The last part of its absolute path."""
        return self.path.resolve().name

    def exists(self) -> bool:
        """Whether it is there."""
        return self.path.is_dir()

    def has(self, name: str) -> bool:
        """Whether a file is in it."""
        return (self.path / name).is_file()

    def get(self, name: str, limit: int) -> bytes | None:
        """The first `limit` bytes of a file, or None if it is not there."""
        if not self.has(name):
            return None
        with (self.path / name).open("rb") as file:
            return file.read(limit)


def open_folder(url: Folder | Path | str, *, cache: Cache | None = None, patience: Patience | None = None) -> Folder:
    """The folder that a path or a URL names; nothing is read yet.

    Args:
        url: A path, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, or `http(s)://host/path`, from
            which can only be read. Endpoint, region and credentials come from the environment variables and files that
            the storage's own tools use.
        cache: Of shards that come from afar; by default 16 GB at most, below `XDG_CACHE_HOME`.
        patience: With storage that does not answer.

    Raises:
        ValueError: If it is another kind of URL, or one with a user name, a password or a query, or if it needs
            obstore, which is not installed.

    Example:
        >>> folder = open_folder("data/sprites") / "train"
        >>> str(folder), folder.name
        ('data/sprites/train', 'train')
        >>> open_folder("ftp://example.org/data")
        Traceback (most recent call last):
        ValueError: ftp:// is no storage that is known: give a folder, or an s3, gs, az, http or https URL
    """
    if isinstance(url, Folder):
        return url
    if isinstance(url, Path) or "://" not in url:
        return LocalFolder(Path(url))
    parts = urlsplit(url)
    if parts.scheme not in BUCKETS:
        known = f"{', '.join(BUCKETS[:-1])} or {BUCKETS[-1]}"
        raise ValueError(f"{parts.scheme}:// is no storage that is known: give a folder, or an {known} URL")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(
            f"a URL of {parts.scheme}:// takes no password, token or query: credentials come from the environment"
        )
    if not parts.netloc:
        raise ValueError(f"{url} names no bucket or host: it is like {parts.scheme}://name/prefix")
    try:
        from seqviews.pipeline.storage.bucket import open_bucket
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise ValueError(f"{parts.scheme}:// needs obstore: pip install 'seqviews[s3]'") from None
    return open_bucket(
        f"{parts.scheme}://{parts.netloc}", parts.path.strip("/"), cache or Cache(), patience or Patience()
    )


def _cache_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
