"""Shards: records to a tar with deterministic bytes, and a checked tar back to records."""

import hashlib
import io
import mmap as mmap_module
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from mmap import mmap
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.features import Features
from seqviews.pipeline.records import KEY_PATTERN, Factor, Record, ShardError
from seqviews.pipeline.shard_table import ShardEntry
from seqviews.pipeline.shards.codec import data_extensions, decode_array, decode_frames, decode_json, encode_record
from seqviews.pipeline.shards.tar import Member, tar_members

T = TypeVar("T")
MAPPED_AROUND = 64 << 10  # that Linux maps at a time, aligned; a multiple of every size of a page
MAX_SHARD_BYTES = 256 << 20


def pack_shard(name: str, records: Iterable[Record], features: Features) -> tuple[ShardEntry, bytes]:
    """Return the manifest entry and the bytes of a tar of records; the same records give the same bytes.

    Raises:
        ValueError: If a record does not match the features, a key is repeated, or the tar exceeds 256 MiB.
    """
    return pack_encoded(name, ((record.key, encode_record(record, features)) for record in records))


def pack_encoded(name: str, records: Iterable[tuple[str, Mapping[str, bytes]]]) -> tuple[ShardEntry, bytes]:
    """Return what `pack_shard` does, of records that are encoded: the key of each, and its members by extension."""
    buffer = io.BytesIO()
    keys: set[str] = set()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in records:
            if key in keys:
                raise ValueError(f"two records have the key {key}")
            keys.add(key)
            for extension, data in members.items():
                member = tarfile.TarInfo(f"{key}.{extension}")
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
        first: int64 `[R + 1]`, the number of members before each record, and of all.
        spans: int64 `[M, 2]`, first byte and end of each member, in the codec's order.
    """

    keys: list[str]
    first: NDArray[np.int64]
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

    def frames(self, record: int) -> int:
        """Return the number of frames of a record. Raises `ShardError` if its JSON contradicts the manifest."""
        least, greatest = self.features.frames
        if least == greatest:
            return greatest
        frames = self._stated(record, "frames", int)
        if not least <= frames <= greatest:
            reason = f"frames is {frames}, the manifest says {least} to {greatest}"
            raise ShardError(f"{self.name}: {self.keys[record]}.json: {reason}")
        return frames

    def decode(
        self,
        record: int,
        out: NDArray[Any],
        converted: NDArray[np.float16] | None = None,
        frames: int | None = None,
        chosen: range | None = None,
    ) -> str:
        """Decode the record at a position in the shard, or some of its frames, and return its key.

        Of a clip only the pages that hold these frames are decoded.

        Args:
            record: The position.
            out: Output for the clip, uint8 `[T, H, W, C]`, or the segment, float32 `[T, n_mels]`; C-contiguous.
            converted: Output for the segment in other voices, float16 `[K, T, n_mels]`, if the shard has them.
            frames: The number of frames of the record, if it is known already.
            chosen: The T frames to decode; by default all.

        Raises:
            ShardError: If it cannot be decoded.
        """
        frames = self.frames(record) if frames is None else frames
        chosen = range(frames) if chosen is None else chosen
        key, extensions, members = self.keys[record], data_extensions(self.features, frames), self._members(record)
        if len(members) != len(extensions) + 1:
            raise ShardError(f"{self.name}: {key}.json: frames is {frames}, which is not what its pages hold")
        for number, (extension, member) in enumerate(zip(extensions, members, strict=False)):
            try:
                if self.features.mel is None:
                    self._decode_page(member, number, frames, chosen, out)
                elif number == 0 or converted is not None:
                    decode_array(member, frames, chosen, converted if number and converted is not None else out)
            except ValueError as error:
                raise ShardError(f"{self.name}: {key}.{extension}: {error}") from None
        self._release(record)
        return key

    def _decode_page(self, data: memoryview, number: int, frames: int, chosen: range, out: NDArray[np.uint8]) -> None:
        size = self.features.page_frames or frames
        start, stop = number * size, min(frames, (number + 1) * size)
        first = max(0, -((chosen.start - start) // chosen.step))
        end = min(len(chosen), -((chosen.start - stop) // chosen.step))
        if first < end:
            inside = range(chosen[first] - start, chosen[end - 1] - start + 1, chosen.step)
            decode_frames(data, self.features, stop - start, inside, out[first:end])

    def factors(self, record: int) -> dict[str, Factor]:
        """Return the factors of a record. Raises `ShardError` if its JSON has none."""
        return self._stated(record, "factors", dict)

    def source(self, record: int) -> str:
        """Return the name of the source that a record was cut from. Raises `ShardError` if its JSON has none."""
        return self._stated(record, "source", str)

    def json(self, record: int) -> dict[str, Any]:
        """Return the JSON of a record. Raises `ShardError` if it cannot be decoded."""
        try:
            about = decode_json(self._members(record)[-1])
        except ValueError as error:
            raise ShardError(f"{self.name}: {self.keys[record]}.json: {error}") from None
        self._release(record)
        return about

    def _stated(self, record: int, name: str, kind: type[T]) -> T:
        value = self.json(record).get(name)
        if type(value) is not kind:
            raise ShardError(f"{self.name}: {self.keys[record]}.json: no {name}")
        return value

    def _release(self, record: int) -> None:
        first, last = self.index.first[record : record + 2].tolist()
        release(self.data, int(self.index.spans[first, 0]), int(self.index.spans[last - 1, 1]))

    def _members(self, record: int) -> list[memoryview]:
        """Return the contents of a record's members: its arrays or pages, and its JSON last."""
        first, last = self.index.first[record : record + 2].tolist()
        return [self.data[start:end] for start, end in self.index.spans[first:last].tolist()]


def release(data: memoryview, start: int, end: int) -> None:
    """Let the pages of a mapped file go, which come back from the page cache when they are used again.

    Without it the resident memory of a stream would grow with the size of its shards. Memory that maps no file is left
    alone, as nothing would bring its contents back.
    """
    mapped: Any = data.obj
    advice = getattr(mmap_module, "MADV_DONTNEED", None)  # not on Windows
    if isinstance(mapped, mmap) and data.readonly and advice is not None:
        first, end = start - start % MAPPED_AROUND, min(len(data), end + MAPPED_AROUND)
        mapped.madvise(advice, first, end - first)


def index_shard(name: str, data: bytes | mmap, entry: ShardEntry, features: Features) -> ShardIndex:
    """Find the records of a tar; `name` is for error messages.

    Raises:
        ShardError: If its structure or record count contradicts the manifest.
    """
    try:
        index = _group(tar_members(data), features)
    except ValueError as error:
        raise ShardError(f"{name}: {error}") from None
    if len(index.keys) != entry.records:
        raise ShardError(f"{name}: holds {len(index.keys)} records, the manifest says {entry.records}")
    return index


def _group(members: Iterator[Member], features: Features) -> ShardIndex:
    """Group the members into records; those of a record must follow each other in order, its JSON at the end."""
    least, greatest = (len(data_extensions(features, frames)) for frames in features.frames)
    extensions = data_extensions(features, features.shape[0])
    keys: dict[str, None] = {}
    first: list[int] = []
    spans: list[tuple[int, int]] = []
    for name, start, end in members:
        key, _, extension = name.partition(".")
        if extension != extensions[0] or not KEY_PATTERN.fullmatch(key):
            raise ValueError(f"member {name[:100]!r} is not <key>.{extensions[0]}")
        if key in keys:
            raise ValueError(f"two records have the key {key}")
        keys[key] = None
        first.append(len(spans))
        spans.append((start, end))
        while extension != "json":
            found, before = len(spans) - first[-1], extension
            expected = [*extensions[found : found + 1], *(["json"] if least <= found <= greatest else [])]
            follower, start, end = next(members, ("", 0, 0))
            extension = follower.removeprefix(f"{key}.")
            if extension not in expected or follower == extension:
                raise ValueError(f"record {key} has no {key}.{' or .'.join(expected)} after its {before}")
            spans.append((start, end))
    return ShardIndex(list(keys), np.array([*first, len(spans)], np.int64), np.array(spans, np.int64).reshape(-1, 2))
