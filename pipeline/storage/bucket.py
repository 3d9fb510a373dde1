"""Bucket: a folder in object storage, through obstore; its errors are told without secrets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from seqviews.pipeline.storage.connection import connect, translated
from seqviews.pipeline.storage.folder import MANIFEST, Cache, Folder, Patience, StorageError, TransientError

CHUNK = 256 << 10
ATTEMPTS = 3
UPLOAD_SECONDS = 300.0


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

    def for_writing(self) -> Bucket:
        """The same, patient enough for large objects: the server is silent for as long as it receives one."""
        return replace(self, store=connect(self.root, replace(self.patience, stall=UPLOAD_SECONDS)))

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
        with self._told(name):
            try:
                found: Any = obstore.get(self.store, self._key(name), options={"head": True})
            except FileNotFoundError:
                return None
            return {**found.attributes, "size": str(found.meta["size"])}

    def get(self, name: str, limit: int) -> bytes | None:
        """The first `limit` bytes of an object, or None if it is not there.

        Raises:
            StorageError: If it cannot be read, or is whole but not what was put there.
        """
        with self._told(name):
            for _ in range(ATTEMPTS):
                try:
                    found: Any = obstore.get(self.store, self._key(name))
                except FileNotFoundError:
                    return None
                data: bytes = b""
                for piece in found.stream(min_chunk_size=CHUNK):
                    data += piece
                    if len(data) >= limit:
                        return data[:limit]
                if found.attributes.get("sha256") in (None, sha256(data).hexdigest()):
                    return data
            raise StorageError("its SHA-256 is not that of its metadata: put it there again")

    def put(self, name: str, data: bytes, metadata: Mapping[str, str]) -> bool:
        """Store an object with its SHA-256 as metadata, unless there is one; says whether it was stored.

        When an answer got lost on the way, this says no although it was this call that stored it: look what is there.

        Raises:
            StorageError: If it cannot be stored.
        """
        attributes, key = {**metadata, "sha256": sha256(data).hexdigest()}, self._key(name)
        with self._told(name):
            for attempt in range(1, ATTEMPTS + 1):  # obstore does not repeat a conditional put whose answer was lost
                try:
                    obstore.put(self.store, key, data, mode="create", use_multipart=False, attributes=attributes)
                except AlreadyExistsError:
                    return False
                except (BaseError, OSError) as error:
                    if attempt == ATTEMPTS or not isinstance(translated(error), TransientError):
                        raise
                else:
                    break
        return True

    def is_empty(self) -> bool:
        """Whether no object is below it.

        Raises:
            StorageError: If that cannot be told.
        """
        with self._told(""):
            return not any(obstore.list(self.store, self.prefix or None, chunk_size=1))

    async def stream(self, name: str) -> tuple[int, AsyncIterator[bytes]]:
        """The size of an object and its bytes in pieces, which raise as this does.

        Raises:
            TransientError: If the object became another one, or its bytes broke off too often.
            StorageError: If it is not there, may not be read, or the server does not answer.
        """
        try:
            found = await obstore.get_async(self.store, self._key(name))
        except (BaseError, OSError) as error:
            raise StorageError(str(translated(error))) from None
        return found.meta["size"], _pieces(found)

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}".strip("/")

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Raise obstore's errors, and ours, with the URL and without secrets."""
        try:
            yield
        except (BaseError, OSError) as error:
            told = error if isinstance(error, StorageError) else translated(error)
            raise StorageError(f"{self}/{name}".rstrip("/") + f": {told}") from None


async def _pieces(found: Any) -> AsyncIterator[bytes]:
    try:
        async for piece in found.stream(min_chunk_size=CHUNK):
            yield piece
    except (BaseError, OSError) as error:
        raise TransientError(str(translated(error))) from None


def open_bucket(root: str, prefix: str, cache: Cache, patience: Patience) -> Bucket:
    """The folder of a prefix below the URL of a bucket, or of a path below that of an HTTP server."""
    return Bucket(connect(root, patience), root, prefix, cache, patience)
