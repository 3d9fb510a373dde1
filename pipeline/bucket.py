"""Bucket: a folder in object storage, through obstore; its errors are told without secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError, PreconditionError

from seqviews.pipeline.attempts import persist
from seqviews.pipeline.connection import connect, translated
from seqviews.pipeline.storage import MANIFEST, Cache, ChangedError, Folder, Patience, StorageError, TransientError

CHUNK = 256 << 10
T = TypeVar("T")


@dataclass(frozen=True, slots=True, repr=False)
class Bucket(Folder):
    """A prefix of a bucket, or a path of an HTTP server.

    Attributes:
        store: obstore's, of the whole bucket.
        root: Its URL.
        prefix: Below it.
        cache: Where shards are kept that were read from it.
        patience: With a server that does not answer.
    """

    store: Any
    root: str
    prefix: str
    cache: Cache
    patience: Patience

    def __str__(self) -> str:
        return f"{self.root}/{self.prefix}".rstrip("/")

    def __repr__(self) -> str:
        return f"Bucket({str(self)!r})"

    def __truediv__(self, name: str) -> Bucket:
        """A folder in this one."""
        return replace(self, prefix=self._key(name))

    @property
    def name(self) -> str:
        """The last part of its URL."""
        return str(self).rpartition("/")[2]

    def exists(self) -> bool:
        """Whether a finished split is there: one with a manifest."""
        return self.has(MANIFEST)

    def has(self, name: str) -> bool:
        """Whether an object is there."""
        return self.about(name) is not None

    def about(self, name: str) -> dict[str, str] | None:
        """The metadata of an object, and its `size`; None if it is not there.

        Raises:
            StorageError: If that cannot be told.
        """

        def ask() -> dict[str, str] | None:
            try:
                found = self._open(name, {"head": True})
            except FileNotFoundError:
                return None
            return {**found.attributes, "size": str(found.meta["size"])}

        return self._persist(ask, name)

    def get(self, name: str, limit: int) -> bytes | None:
        """The first `limit` bytes of an object, or None if it is not there.

        Raises:
            StorageError: If it cannot be read, or is whole but not what was put there.
        """

        def read() -> bytes | None:
            try:
                found = self._open(name)
            except FileNotFoundError:
                return None
            data = b""
            for piece in _pieces(found):
                data += piece
                if len(data) >= limit:
                    return data[:limit]
            if len(data) != found.meta["size"] or found.attributes.get("sha256") not in (
                None,
                sha256(data).hexdigest(),
            ):
                raise TransientError("what arrived is not what was stored")
            return data

        return self._persist(read, name)

    def put(self, name: str, data: bytes, metadata: Mapping[str, str]) -> bool:
        """Store an object with its SHA-256 as metadata, unless there is one; says whether it was stored.

        When an answer got lost on the way, this says no although it was this call that stored it: look what is there.

        Raises:
            StorageError: If it cannot be stored.
        """
        attributes = {**metadata, "sha256": sha256(data).hexdigest()}

        def write() -> bool:
            try:
                obstore.put(
                    self.store, self._key(name), data, mode="create", use_multipart=False, attributes=attributes
                )
            except AlreadyExistsError:
                return False
            except (BaseError, OSError) as error:
                raise translated(error) from None
            return True

        return self._persist(write, name)

    def is_empty(self) -> bool:
        """Whether no object is below it.

        Raises:
            StorageError: If that cannot be told.
        """

        def ask() -> bool:
            try:
                return not any(obstore.list(self.store, self.prefix or None, chunk_size=1))
            except (BaseError, OSError) as error:
                raise translated(error) from None

        return self._persist(ask, "")

    def stream(self, name: str, offset: int = 0, e_tag: str | None = None) -> tuple[int, str | None, Iterator[bytes]]:
        """One attempt at the bytes of an object, from an offset on.

        Args:
            name: Of the object.
            offset: Where to begin; the object must still be the one of `e_tag`, if that is given.
            e_tag: What an earlier call returned.

        Returns:
            The size of the whole object, its tag, and its bytes in pieces, which raise as this does.

        Raises:
            TransientError: If it did not work out, or the object is another one now.
            StorageError: If it is not there, or may not be read.
        """
        try:
            found = self._open(name, {"range": {"offset": offset}, "if_match": e_tag} if offset else None)
        except FileNotFoundError:
            raise StorageError("is not there") from None
        return found.meta["size"], found.meta["e_tag"], _pieces(found)

    def _open(self, name: str, options: Any = None) -> Any:
        try:
            return obstore.get(self.store, self._key(name), options=options)
        except FileNotFoundError:
            raise
        except PreconditionError:
            raise ChangedError("was replaced while it was read") from None
        except NotSupportedError:
            raise ChangedError("broke off, and the server cannot go on in the middle") from None
        except (BaseError, OSError) as error:
            raise translated(error) from None

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}".strip("/")

    def _persist(self, action: Callable[[], T], name: str) -> T:
        return persist(action, f"{self}/{name}".rstrip("/"), lambda: self.patience.deadline)


def _pieces(found: Any) -> Iterator[bytes]:
    try:
        yield from found.stream(min_chunk_size=CHUNK)
    except (BaseError, OSError) as error:
        raise translated(error) from None


def open_bucket(root: str, prefix: str, cache: Cache, patience: Patience) -> Bucket:
    """The folder of a prefix below the URL of a bucket, or of a path below that of an HTTP server."""
    return Bucket(connect(root, patience), root, prefix, cache, patience)
