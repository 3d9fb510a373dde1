"""Records to tar members and back to arrays; nothing is ever unpickled."""

import io
import json
import math
import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.features import Codec, Features
from seqviews.pipeline.records import Clip, Record, Segment, ShardError
from seqviews.pipeline.shards.images import decode_image, encode_image
from seqviews.pipeline.shards.strict_json import parse_object, plain

MAX_JSON_BYTES = 1 << 20
_NPY_SHAPE = re.compile(rb"'shape': \((\d{1,9},|\d{1,9}(?:, \d{1,9}){1,9})\), \}")


def encoder_versions(codec: Codec) -> dict[str, str]:
    """Return the versions that determine a shard's bytes."""
    versions = {"seqviews": version("seqviews"), "numpy": np.__version__}
    if codec != "npy":
        versions["imagecodecs"] = version("imagecodecs")
        reported = imagecodecs.jpeg8_version if codec == "jpeg" else getattr(imagecodecs, f"{codec}_version")
        versions["lib" + codec] = str(reported())
    return versions


def data_extensions(features: Features, frames: int) -> tuple[str, ...]:
    """Return the extensions of the members with the data of a record of this many frames: its pages, or its arrays."""
    if features.mel is not None:
        return ("mel.npy", "converted.npy") if features.mel.voices else ("mel.npy",)
    suffix = "jpg" if features.codec == "jpeg" else features.codec
    if features.page_frames is None:
        return (f"frames.{suffix}",)
    return tuple(f"frames-{page:03d}.{suffix}" for page in range(-(-frames // features.page_frames)))


def encode_record(record: Record, features: Features) -> dict[str, bytes]:
    """Return the members of a record by extension, in order.

    The frames of a clip, or of each page of it, are stacked into one tall image of `T * H` rows and `W` columns, which
    any viewer opens.

    Raises:
        ValueError: If the record has another shape or number of voices than the data set, or too many rows.
    """
    what, found = ("frames are", record.frames) if isinstance(record, Clip) else ("mel is", record.mel)
    least, greatest = features.frames
    if found.shape[1:] != features.shape[1:] or not least <= len(found) <= greatest:
        expected = str(list(features.shape)) + ("" if least == greatest else f" or of at least {least} frames")
        raise ValueError(f"{type(record).__name__.lower()} {record.key}: {what} {list(found.shape)}, not {expected}")
    members = _clip_members(record, features) if isinstance(record, Clip) else _segment_members(record, features)
    return dict(zip((*data_extensions(features, len(found)), "json"), members, strict=True))


def _clip_members(clip: Clip, features: Features) -> list[bytes]:
    size = features.page_frames or len(clip.frames)
    pages = (clip.frames[start : start + size] for start in range(0, len(clip.frames), size))
    about = {"key": clip.key, "source": clip.source, "frames": len(clip.frames), "rate": clip.rate}
    return [*(_encode_frames(page, features) for page in pages), _encode_json({**about, "factors": dict(clip.factors)})]


def _encode_frames(frames: NDArray[np.uint8], features: Features) -> bytes:
    return _encode_npy(frames) if features.codec == "npy" else encode_image(frames, features.codec, features.quality)


def _segment_members(segment: Segment, features: Features) -> list[bytes]:
    if features.mel is None:
        raise ValueError(f"segment {segment.key} is in a data set of clips")
    voices = 0 if segment.converted is None else len(segment.converted)
    if voices != features.mel.voices:
        raise ValueError(f"segment {segment.key}: has {voices} other voices, not {features.mel.voices}")
    about = {"key": segment.key, "source": segment.source, "frames": len(segment.mel), "rate": segment.rate}
    about |= {"start": segment.start, "factors": dict(segment.factors)}
    converted = [] if segment.converted is None else [_encode_npy(segment.converted)]
    return [_encode_npy(segment.mel), *converted, _encode_json(about)]


def _encode_json(about: dict[str, Any]) -> bytes:
    try:
        data = json.dumps(about, separators=(",", ":"), default=plain).encode()
        decode_json(data)
    except (ValueError, TypeError) as error:
        raise ValueError(f"record {about['key']}: its factors cannot be stored: {error}") from None
    return data


def _encode_npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def decode_frames(
    data: bytes | memoryview, features: Features, stored: int, chosen: range, out: NDArray[np.uint8]
) -> None:
    """Decode the `chosen` of the `stored` frames in a member into `out`, uint8 `[len(chosen), H, W, C]`, C-contiguous.

    Raises:
        ValueError: If the data cannot be decoded, or holds frames of another number, shape or type.
    """
    if features.codec == "npy":
        decode_array(data, stored, chosen, out)
    elif chosen == range(stored):
        decode_image(data, features.codec, features.quality, out)
    else:
        whole = np.empty((stored, *out.shape[1:]), np.uint8)
        decode_image(data, features.codec, features.quality, whole)
        out[:] = whole[_slice(chosen)]


def decode_array(data: bytes | memoryview, stored: int, chosen: range, out: NDArray[Any]) -> None:
    """Copy the `chosen` of the `stored` frames of a .npy array to `out`, `[frames, ...]` or float16 `[K, frames, ...]`.

    The shape in the data's header is compared with the expected one before anything is allocated.

    Raises:
        ValueError: If the array has another shape or type, or one of the values is not finite.
    """
    if out.dtype == np.float16:
        out[:] = npy_array(data, (len(out), stored, *out.shape[2:]), out.dtype)[:, _slice(chosen)]
    else:
        out[:] = npy_array(data, (stored, *out.shape[1:]), out.dtype)[_slice(chosen)]
    if out.dtype.kind == "f" and not _all_finite(out):
        raise ValueError("a value is not finite")


def _slice(chosen: range) -> slice:
    return slice(chosen.start, chosen.stop, chosen.step)


def _all_finite(values: NDArray[Any]) -> bool:
    if values.dtype == np.float16:  # a full exponent is infinity or NaN; np.isfinite is ten times as slow
        return not bool((values.view(np.uint16) & 0x7C00 == 0x7C00).any())
    return bool(np.isfinite(values).all())


def npy_shape(data: bytes | memoryview) -> tuple[int, ...]:
    """The shape that the header of a .npy file states. Raises `ValueError` if it is none of `npy_array`."""
    found = _NPY_SHAPE.search(data, 10, 10 + int.from_bytes(data[8:10], "little"))
    if found is None:
        raise ValueError(f"not a version 1.0 .npy array: {bytes(data[:100])!r}")
    return tuple(map(int, found[1].rstrip(b",").split(b", ")))


def npy_array(data: bytes | memoryview, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a view of a .npy file; its header is compared with numpy's own, which numpy would evaluate."""
    start = 10 + int.from_bytes(data[8:10], "little")
    header = bytes(data[10:start])
    expected = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    if bytes(data[:8]) != b"\x93NUMPY\x01\x00" or header != expected.ljust(len(header) - 1) + b"\n":
        raise ValueError(f"not a version 1.0 .npy array, or not {dtype} {list(shape)} in C order: {header[:100]!r}")
    body = memoryview(data)[start:]
    size = math.prod(shape) * dtype.itemsize
    if len(body) != size:
        raise ValueError(f".npy array has {len(body)} bytes, its header says {size}")
    return np.frombuffer(body, dtype).reshape(shape)


def decode_json(data: bytes | memoryview) -> dict[str, Any]:
    """Return a record's JSON. Raises `ValueError` if it exceeds 1 MiB, is not UTF-8, or `parse_object` rejects it."""
    if len(data) > MAX_JSON_BYTES:
        raise ValueError(f"JSON of {len(data)} bytes exceeds the limit of {MAX_JSON_BYTES}")
    return parse_object(str(data, "utf-8"))


def factor_array(
    name: str,
    classes: Sequence[str] | None,
    values: Sequence[Any],
    records: Sequence[str],
    chosen: Sequence[tuple[int, range]],
) -> NDArray[np.int64] | NDArray[np.float32]:
    """Return one factor of several records: int64 `[B]` classes, or float32 `[B, T, ...]` trajectories, padded with 0.

    `classes` is None for a trajectory. `values` are those in the records' JSON, None where missing; `records` has the
    names for error messages; `chosen` has each record's number of frames and the frames of it that the batch holds.

    Raises:
        ShardError: If a value is not a class, or not finite numbers for each frame in one shape.
    """
    if classes is None:
        return _trajectories(name, values, records, chosen)
    for value, record in zip(values, records, strict=True):
        if type(value) is not int or not 0 <= value < len(classes):
            raise ShardError(f"{record}: {name} is {repr(value)[:80]}, not a class from 0 to {len(classes) - 1}")
    return np.array(values, np.int64)


def _trajectories(
    name: str, values: Sequence[Any], records: Sequence[str], chosen: Sequence[tuple[int, range]]
) -> NDArray[np.float32]:
    tracks = [
        _trajectory(name, value, frames, record)[_slice(of_batch)]
        for value, record, (frames, of_batch) in zip(values, records, chosen, strict=True)
    ]
    if len({track.shape[1:] for track in tracks}) > 1:
        raise ShardError(f"{records[0]} and others: their {name} differ in shape")
    padded = np.zeros((len(tracks), max(map(len, tracks), default=0), *(tracks[0].shape[1:] if tracks else ())), "f4")
    for row, track in zip(padded, tracks, strict=True):
        row[: len(track)] = track
    return padded


def _trajectory(name: str, value: Any, frames: int, record: str) -> NDArray[np.float32]:
    leaves = np.array(value, object)  # with another type, numpy converts null, true and "1" to numbers
    if leaves.ndim and len(leaves) == frames and set(map(type, leaves.flat)) <= {int, float}:
        with np.errstate(over="ignore"):
            track = leaves.astype(np.float32)
        if np.isfinite(track).all():
            return track
    raise ShardError(f"{record}: {name} is not a trajectory, numbers for each of {frames} frames")
