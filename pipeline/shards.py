"""Shards: records into a tar with fixed bytes, and a tar back into records after it has been checked."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.codec import decode_frames, decode_json, encode_clip
from seqviews.pipeline.manifest import Features, ShardEntry
from seqviews.pipeline.records import KEY_PATTERN, Clip, Factor, ShardError

BLOCK = 512
MAX_SHARD_BYTES = 256 << 20


def write_shard(path: Path, clips: Iterable[Clip], features: Features) -> ShardEntry:
    """Write clips to a tar; the same clips give the same bytes, whoever writes them and when.

    The tar is written under a temporary name and renamed when it is complete.

    Args:
        path: Where the tar goes; its folder exists.
        clips: The records, in order.
        features: What each of them must look like.

    Raises:
        ValueError: If a clip does not fit the features, or a key comes twice.
        OSError: If it cannot be written; nothing is left behind.
    """
    buffer = io.BytesIO()
    keys: set[str] = set()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for clip in clips:
            if clip.key in keys:
                raise ValueError(f"two records have the key {clip.key}")
            keys.add(clip.key)
            for extension, data in encode_clip(clip, features).items():
                member = tarfile.TarInfo(f"{clip.key}.{extension}")
                member.size, member.mode = len(data), 0o644
                tar.addfile(member, io.BytesIO(data))
    data = buffer.getvalue()
    if len(data) > MAX_SHARD_BYTES:
        raise ValueError(f"shard {path.name} has {len(data) >> 20} MiB, over 256: put fewer sources into a shard")
    write_atomically(path, data)
    return ShardEntry(path.name, len(keys), len(data), hashlib.sha256(data).hexdigest())


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
    members: dict[str, tuple[slice, slice]]
    keys: list[str]

    def decode(self, record: int, out: NDArray[np.uint8]) -> str:
        """Decode the frames of one record into `out`, uint8 `[T, H, W, C]`, and return its key.

        Raises:
            ShardError: If they cannot be decoded.
        """
        key = self.keys[record]
        try:
            decode_frames(self.data[self.members[key][0]], self.features.codec, out)
        except ValueError as error:
            raise ShardError(f"{self.name}: {key}.frames.{self.features.codec}: {error}") from None
        return key

    def factors(self, record: int) -> dict[str, Factor]:
        """The factors of one record, from its JSON.

        Raises:
            ShardError: If there are none.
        """
        key = self.keys[record]
        try:
            factors = decode_json(self.data[self.members[key][1]]).get("factors")
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
        data = path.read_bytes()
    except OSError as error:
        raise ShardError(f"{path}: cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise ShardError(f"{path}: its SHA-256 is not the manifest's, so it is damaged: copy or prepare it again")
    try:
        members = dict(_records(memoryview(data), features.codec))
    except ValueError as error:
        raise ShardError(f"{path}: {error}") from None
    if len(members) != entry.records:
        raise ShardError(f"{path}: holds {len(members)} records, the manifest says {entry.records}")
    return Shard(str(path), memoryview(data), features, members, list(members))


def _records(data: memoryview, codec: str) -> Iterator[tuple[str, tuple[slice, slice]]]:
    """Pair the members up: `<key>.frames.<codec>`, then `<key>.json`."""
    members = _members(data)
    seen: set[str] = set()
    for name, frames in members:
        key, _, extension = name.partition(".")
        if extension != f"frames.{codec}" or not KEY_PATTERN.fullmatch(key):
            raise ValueError(f"member {name[:100]!r} is not <key>.frames.{codec}")
        if key in seen:
            raise ValueError(f"two records have the key {key}")
        seen.add(key)
        follower, about = next(members, (None, slice(0)))
        if follower != f"{key}.json":
            raise ValueError(f"record {key} has no {key}.json behind its frames")
        yield key, (frames, about)


def _members(data: memoryview) -> Iterator[tuple[str, slice]]:
    """Walk the headers of a POSIX ustar archive of plain files; anything else is an error."""
    offset = 0
    while True:
        header = bytes(data[offset : offset + BLOCK])
        if len(header) < BLOCK:
            raise ValueError("the archive ends without its two empty blocks")
        if not any(header):
            break
        name, size = _parse_header(header, offset)
        start = offset + BLOCK
        if start + size > len(data):
            raise ValueError(f"member {name!r} is cut off")
        yield name, slice(start, start + size)
        offset = start + -(-size // BLOCK) * BLOCK
    if len(data) - offset < 2 * BLOCK or any(data[offset:]):
        raise ValueError("the archive does not end in empty blocks")


def _parse_header(header: bytes, offset: int) -> tuple[str, int]:
    if header[257:265] != b"ustar\x0000":
        raise ValueError(f"the header at byte {offset} is not POSIX ustar")
    try:
        checksum = int(header[148:156].rstrip(b"\0 "), 8)
        size = int(header[124:136].rstrip(b"\0 "), 8)
        name = header[:100].rstrip(b"\0").decode("ascii")
    except ValueError:
        raise ValueError(f"the header at byte {offset} is damaged") from None
    if checksum != sum(header) - sum(header[148:156]) + 8 * ord(" ") or size < 0:
        raise ValueError(f"the header at byte {offset} is damaged")
    if header[156:157] not in (b"0", b"\0") or any(header[157:257]) or any(header[345:500]):
        raise ValueError(f"member {name[:100]!r} is not a plain file with a short name")
    return name, size
