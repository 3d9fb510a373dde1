"""Bucket: a folder in object storage, through obstore."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, ClassVar
from urllib.parse import quote

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from seqviews.pipeline.storage.connection import connect, translated
from seqviews.pipeline.storage.folder import MANIFEST, Cache, Folder, Prefetcher, StorageError, Timeouts, TransientError
from seqviews.pipeline.storage.prefetch import CachePrefetcher

CHUNK = 256 << 10
ATTEMPTS = 3
UPLOAD_SECONDS = 300.0


@dataclass(frozen=True, slots=True, repr=False)
class Bucket(Folder):
    """A prefix of a bucket, or a path of an HTTP server, which is read-only."""

    is_remote: ClassVar[bool] = True
    store: Any  # obstore's, of the whole bucket
    root: str  # the bucket's URL
    prefix: str  # the path below it
    cache: Cache
    timeouts: Timeouts

    def __str__(self) -> str:
        """Return the URL that opens it again; of an HTTP server, with %20 for a space."""
        prefix = quote(self.prefix, safe="/!$&'()*+,:=@~") if self.root.startswith("http") else self.prefix
        return f"{self.root}/{prefix}".rstrip("/")

    def __repr__(self) -> str:
        return f"Bucket({str(self)!r})"

    def __truediv__(self, name: str) -> Bucket:
        """Return a folder in this one."""
        return replace(self, prefix=self._key(name))

    @property
    def name(self) -> str:
        """The last part of its URL."""
        return str(self).rpartition("/")[2]

    def exists(self) -> bool:
        """Whether it holds a finished split: one with a manifest."""
        return self.has(MANIFEST)

    def head(self, name: str) -> dict[str, str] | None:
        """Return the metadata of an object and its `size`; None if it does not exist."""
        with self._located_errors(name):
            try:
                found: Any = obstore.get(self.store, self._key(name), options={"head": True})
            except FileNotFoundError:
                return None
            return {**found.attributes, "size": str(found.meta["size"])}

    def get(self, name: str, limit: int) -> bytes | None:
        """Return the first `limit` bytes of an object, or None if it does not exist."""
        with self._located_errors(name):
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

    def prefetcher(self) -> Prefetcher:
        """Return a reader that fetches shards through the cache."""
        return CachePrefetcher(str(self), self.stream, self.cache, self.timeouts)

    def for_writing(self) -> Bucket:
        """Return the same with longer timeouts: the server is silent while it receives a large object."""
        if self.root.startswith("http"):
            raise ValueError(f"{self} can only be read: give a folder, or an s3, gs or az URL")
        return replace(self, store=connect(self.root, replace(self.timeouts, stall=UPLOAD_SECONDS)))

    def is_empty(self) -> bool:
        """Whether no object exists below it."""
        with self._located_errors(""):
            return not any(obstore.list(self.store, self.prefix or None, chunk_size=1))

    def put(self, name: str, data: bytes, metadata: Mapping[str, str]) -> bool:
        """Store an object with its SHA-256 as metadata, unless it exists, and return whether it was stored."""
        attributes, key = {**metadata, "sha256": sha256(data).hexdigest()}, self._key(name)
        with self._located_errors(name):
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

    def remove(self, name: str) -> None:
        """Remove an object, if it exists."""
        with self._located_errors(name), suppress(FileNotFoundError):
            obstore.delete(self.store, self._key(name))

    def remove_temporaries(self) -> None:
        """Remove nothing: an object is there whole or not at all."""

    def remove_receipts(self) -> None:
        """Remove nothing: objects have their metadata with them."""

    async def stream(self, name: str) -> tuple[int, AsyncIterator[bytes]]:
        """Return the size of an object and an iterator over its bytes in pieces, which raises as this does.

        Raises:
            StorageError: If it cannot be read; `TransientError` if it was replaced or the download broke off.
        """
        try:
            found = await obstore.get_async(self.store, self._key(name))
        except (BaseError, OSError) as error:
            raise StorageError(str(translated(error))) from None
        return found.meta["size"], _pieces(found)

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}".strip("/")

    @contextmanager
    def _located_errors(self, name: str) -> Iterator[None]:
        """Raise obstore's errors, and ours, with the URL and without secrets."""
        try:
            yield
        except (BaseError, OSError) as error:
            cause = error if isinstance(error, StorageError) else translated(error)
            raise StorageError(f"{self}/{name}".rstrip("/") + f": {cause}") from None
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # obstore's for a setting that it did not check
                raise
            raise StorageError(f"{self}/{name}".rstrip("/") + ": obstore cannot use a setting of the store") from None


async def _pieces(found: Any) -> AsyncIterator[bytes]:
    try:
        async for piece in found.stream(min_chunk_size=CHUNK):
            yield piece
    except (BaseError, OSError) as error:
        raise TransientError(str(translated(error))) from None
