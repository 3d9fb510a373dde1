"""Shards: records into a tar with fixed bytes, and a tar back into records after it has been checked."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.manifest import Features, ShardEntry
from seqviews.pipeline.records import KEY_PATTERN, Factor, Record, ShardError
from seqviews.pipeline.shards.codec import decode_array, decode_json, encode_record, extensions
from seqviews.pipeline.shards.tar import Member, tar_members

MAX_SHARD_BYTES = 256 << 20


def pack_shard(name: str, records: Iterable[Record], features: Features) -> tuple[ShardEntry, bytes]:
    """The bytes of a tar of records, and its entry in the manifest; the same records give the same bytes.

    Args:
        name: The tar's file name.
        records: In order.
        features: What each of them must look like.

    Raises:
        ValueError: If a record does not fit the features, a key comes twice, or the tar gets too large.
    """
    buffer = io.BytesIO()
    keys: set[str] = set()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for record in records:
            if record.key in keys:
                raise ValueError(f"two records have the key {record.key}")
            keys.add(record.key)
            for extension, data in encode_record(record, features).items():
                member = tarfile.TarInfo(f"{record.key}.{extension}")
                member.size, member.mode = len(data), 0o644
                tar.addfile(member, io.BytesIO(data))
    data = buffer.getvalue()
    if len(data) > MAX_SHARD_BYTES:
        raise ValueError(f"shard {name} has {len(data) >> 20} MiB, over 256: put fewer sources into a shard")
    return ShardEntry(name, len(keys), len(data), hashlib.sha256(data).hexdigest()), data


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, eq=False)
class ShardIndex:
    """Where the records of a checked tar are.

    Attributes:
        keys: Of the records, in order.
        spans: int64 `[R, M, 2]`, first byte and end of each record's members, which are in the codec's order.
    """

    keys: list[str]
    spans: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """A checked tar in memory: its records by position, decoded when asked for."""

    name: str
    data: memoryview
    features: Features
    index: ShardIndex

    @property
    def keys(self) -> list[str]:
        """Of the records, in order."""
        return self.index.keys

    def members(self, record: int) -> list[memoryview]:
        """The contents of a record's members: its arrays, and its JSON last."""
        return [self.data[start:end] for start, end in self.index.spans[record].tolist()]

    def decode(self, record: int, out: NDArray[Any], converted: NDArray[np.float16] | None = None) -> str:
        """Decode one record and return its key.

        Args:
            record: Its position in the shard.
            out: Takes the clip's frames, uint8 `[T, H, W, C]`, or the segment, float32 `[T, n_mels]`; C-contiguous.
            converted: Takes the segment in other voices, float16 `[K, T, n_mels]`, where the shard has them.

        Raises:
            ShardError: If it cannot be decoded.
        """
        key = self.keys[record]
        arrays = (out,) if converted is None else (out, converted)
        for extension, member, array in zip(extensions(self.features), self.members(record), arrays, strict=False):
            try:
                decode_array(member, self.features.codec, array)
            except ValueError as error:
                raise ShardError(f"{self.name}: {key}.{extension}: {error}") from None
        return key

    def factors(self, record: int) -> dict[str, Factor]:
        """The factors of one record, from its JSON.

        Raises:
            ShardError: If there are none.
        """
        key = self.keys[record]
        try:
            factors = decode_json(self.members(record)[-1]).get("factors")
        except ValueError as error:
            raise ShardError(f"{self.name}: {key}.json: {error}") from None
        if not isinstance(factors, dict):
            raise ShardError(f"{self.name}: {key}.json: no factors")
        return factors


def read_file(folder: Path, entry: ShardEntry) -> bytes:
    """Read a tar whole, and check its size and SHA-256 against the manifest.

    Raises:
        ShardError: If it is missing, or one of them is not what the manifest says.
    """
    path = folder / entry.name
    try:
        size = path.stat().st_size
        if size != entry.bytes:
            raise ShardError(f"{path}: has {size} bytes, the manifest says {entry.bytes}: copy or prepare it again")
        with path.open("rb") as file:
            data = file.read(entry.bytes)
    except OSError as error:
        raise ShardError(f"{path}: cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise ShardError(f"{path}: its SHA-256 is not the manifest's, so it is damaged: copy or prepare it again")
    return data


def index_shard(name: str, data: bytes | mmap, entry: ShardEntry, features: Features) -> ShardIndex:
    """Find the records of a tar whose SHA-256 is the manifest's; `name` is told in errors.

    Raises:
        ShardError: If its structure or record count is not what the manifest says.
    """
    try:
        keys, bounds = _group(tar_members(data), extensions(features))
    except ValueError as error:
        raise ShardError(f"{name}: {error}") from None
    if len(keys) != entry.records:
        raise ShardError(f"{name}: holds {len(keys)} records, the manifest says {entry.records}")
    return ShardIndex(keys, np.array(bounds, np.int64).reshape(len(keys), -1, 2))


def _group(members: Iterator[Member], extensions: Sequence[str]) -> tuple[list[str], list[int]]:
    """The keys, and the bounds of the members: those of a record follow each other as the extensions do."""
    first, followers = extensions[0], list(pairwise(extensions))
    keys: dict[str, None] = {}
    bounds: list[int] = []
    for name, start, end in members:
        key, _, extension = name.partition(".")
        if extension != first or not KEY_PATTERN.fullmatch(key):
            raise ValueError(f"member {name[:100]!r} is not <key>.{first}")
        if key in keys:
            raise ValueError(f"two records have the key {key}")
        keys[key] = None
        bounds += start, end
        for before, extension in followers:
            follower, start, end = next(members, ("", 0, 0))
            if follower != f"{key}.{extension}":
                raise ValueError(f"record {key} has no {key}.{extension} behind its {before}")
            bounds += start, end
    return list(keys), bounds
