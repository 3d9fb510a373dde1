"""Shards: records to a tar with deterministic bytes, and a checked tar back to records."""

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from mmap import mmap
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.manifest import Features, ShardEntry
from seqviews.pipeline.records import KEY_PATTERN, Factor, Record, ShardError
from seqviews.pipeline.shards.codec import decode_array, decode_json, encode_record, extensions
from seqviews.pipeline.shards.tar import Member, tar_members

T = TypeVar("T")
MAX_SHARD_BYTES = 256 << 20


def pack_shard(name: str, records: Iterable[Record], features: Features) -> tuple[ShardEntry, bytes]:
    """Return the manifest entry and the bytes of a tar of records; the same records give the same bytes.

    Raises:
        ValueError: If a record does not match the features, a key is repeated, or the tar exceeds 256 MiB.
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


@dataclass(frozen=True, slots=True, eq=False)
class ShardIndex:
    """The positions of the records in a checked tar.

    Attributes:
        keys: The keys of its R records in order.
        spans: int64 `[R, M, 2]`, first byte and end of each record's members, in the codec's order.
    """

    keys: list[str]
    spans: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """A checked tar in memory; its records are decoded on request."""

    name: str
    data: memoryview
    features: Features
    index: ShardIndex

    @property
    def keys(self) -> list[str]:
        """The records' keys in order."""
        return self.index.keys

    def decode(self, record: int, out: NDArray[Any], converted: NDArray[np.float16] | None = None) -> str:
        """Decode the record at a position in the shard and return its key.

        Args:
            record: The position.
            out: Output for the clip, uint8 `[T, H, W, C]`, or the segment, float32 `[T, n_mels]`; C-contiguous.
            converted: Output for the segment in other voices, float16 `[K, T, n_mels]`, if the shard has them.

        Raises:
            ShardError: If it cannot be decoded.
        """
        key = self.keys[record]
        arrays = (out,) if converted is None else (out, converted)
        for extension, member, array in zip(extensions(self.features), self._members(record), arrays, strict=False):
            try:
                decode_array(member, self.features.codec, array)
            except ValueError as error:
                raise ShardError(f"{self.name}: {key}.{extension}: {error}") from None
        return key

    def factors(self, record: int) -> dict[str, Factor]:
        """Return the factors of a record. Raises `ShardError` if its JSON has none."""
        return self._stated(record, "factors", dict)

    def source(self, record: int) -> str:
        """Return the name of the source that a record was cut from. Raises `ShardError` if its JSON has none."""
        return self._stated(record, "source", str)

    def json(self, record: int) -> dict[str, Any]:
        """Return the JSON of a record. Raises `ShardError` if it cannot be decoded."""
        try:
            return decode_json(self._members(record)[-1])
        except ValueError as error:
            raise ShardError(f"{self.name}: {self.keys[record]}.json: {error}") from None

    def _stated(self, record: int, name: str, kind: type[T]) -> T:
        value = self.json(record).get(name)
        if not isinstance(value, kind):
            raise ShardError(f"{self.name}: {self.keys[record]}.json: no {name}")
        return value

    def _members(self, record: int) -> list[memoryview]:
        """Return the contents of a record's members: its arrays, and its JSON last."""
        return [self.data[start:end] for start, end in self.index.spans[record].tolist()]


def index_shard(name: str, data: bytes | mmap, entry: ShardEntry, features: Features) -> ShardIndex:
    """Find the records of a tar; `name` is for error messages.

    Raises:
        ShardError: If its structure or record count contradicts the manifest.
    """
    try:
        keys, bounds = _group(tar_members(data), extensions(features))
    except ValueError as error:
        raise ShardError(f"{name}: {error}") from None
    if len(keys) != entry.records:
        raise ShardError(f"{name}: holds {len(keys)} records, the manifest says {entry.records}")
    return ShardIndex(keys, np.array(bounds, np.int64).reshape(len(keys), -1, 2))


def _group(members: Iterator[Member], extensions: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the keys and the bounds of the members; each record's members must follow in the extensions' order."""
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
                raise ValueError(f"record {key} has no {key}.{extension} after its {before}")
            bounds += start, end
    return list(keys), bounds
