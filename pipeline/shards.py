"""Shards: records into a tar with fixed bytes, and a tar back into records after it has been checked."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.codec import decode_array, decode_json, encode_record, extensions
from seqviews.pipeline.manifest import Features, ShardEntry
from seqviews.pipeline.records import KEY_PATTERN, Factor, Record, ShardError
from seqviews.pipeline.tar import tar_members

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
class Shard:
    """A checked tar in memory: its records by position, decoded when asked for."""

    name: str
    data: memoryview
    features: Features
    members: dict[str, tuple[slice, ...]]
    keys: list[str]

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
        for extension, member, array in zip(extensions(self.features), self.members[key], arrays, strict=False):
            try:
                decode_array(self.data[member], self.features.codec, array)
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
            factors = decode_json(self.data[self.members[key][-1]]).get("factors")
        except ValueError as error:
            raise ShardError(f"{self.name}: {key}.json: {error}") from None
        if not isinstance(factors, dict):
            raise ShardError(f"{self.name}: {key}.json: no factors")
        return factors


def read_shard(folder: Path, entry: ShardEntry, features: Features) -> Shard:
    """Read a tar whole, check it against the manifest, and find its records.

    Raises:
        ShardError: If it is missing, or its size, SHA-256, structure or record count is not what the manifest says.
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
    return parse_shard(str(path), data, entry, features)


def parse_shard(name: str, data: bytes, entry: ShardEntry, features: Features) -> Shard:
    """Find the records of a tar whose SHA-256 is the manifest's; `name` is told in errors.

    Raises:
        ShardError: If its structure or record count is not what the manifest says.
    """
    try:
        members = dict(_records(data, extensions(features)))
    except ValueError as error:
        raise ShardError(f"{name}: {error}") from None
    if len(members) != entry.records:
        raise ShardError(f"{name}: holds {len(members)} records, the manifest says {entry.records}")
    return Shard(name, memoryview(data), features, members, list(members))


def _records(data: bytes, extensions: Sequence[str]) -> Iterator[tuple[str, tuple[slice, ...]]]:
    """Group the members: those of a record follow each other as the extensions do."""
    members = tar_members(data)
    seen: set[str] = set()
    for name, first in members:
        key, _, extension = name.partition(".")
        if extension != extensions[0] or not KEY_PATTERN.fullmatch(key):
            raise ValueError(f"member {name[:100]!r} is not <key>.{extensions[0]}")
        if key in seen:
            raise ValueError(f"two records have the key {key}")
        seen.add(key)
        found = [first]
        for before, extension in pairwise(extensions):
            follower, member = next(members, (None, slice(0)))
            if follower != f"{key}.{extension}":
                raise ValueError(f"record {key} has no {key}.{extension} behind its {before}")
            found.append(member)
        yield key, tuple(found)
