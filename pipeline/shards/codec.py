"""Records to tar members and back to arrays; nothing is ever unpickled."""

import io
import json
import math
import struct
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.manifest import Codec, Features
from seqviews.pipeline.records import Clip, Record, Segment, ShardError
from seqviews.pipeline.shards.strict_json import parse_object, plain

_WEBP_MAX_ROWS = 16_383
MAX_JSON_BYTES = 1 << 20
_WEBP_HEADER = struct.Struct("<4sI8sIxI")
_PNG_CHUNKS = {b"": (b"IHDR",), b"IHDR": (b"IDAT",), b"IDAT": (b"IDAT", b"IEND"), b"IEND": ()}


def encoder_versions(codec: Codec) -> dict[str, str]:
    """Return the versions that determine a shard's bytes."""
    versions = {"seqviews": version("seqviews"), "numpy": np.__version__}
    if codec != "npy":
        versions["imagecodecs"] = version("imagecodecs")
        versions["lib" + codec] = str(getattr(imagecodecs, f"{codec}_version")())
    return versions


def extensions(features: Features) -> tuple[str, ...]:
    """Return the extensions of a record's members in order: its data, other voices if there are any, its JSON."""
    if features.mel is None:
        return "frames." + features.codec, "json"
    return ("mel.npy", "converted.npy", "json") if features.mel.voices else ("mel.npy", "json")


def encode_record(record: Record, features: Features) -> dict[str, bytes]:
    """Return the members of a record by extension, in order.

    The frames of a clip are stacked into one tall image of `T * H` rows and `W` columns, which any viewer opens.

    Raises:
        ValueError: If the record has another shape or number of voices than the data set, or is too long for WebP.
    """
    members = _clip_members(record, features) if isinstance(record, Clip) else _segment_members(record, features)
    return dict(zip(extensions(features), members, strict=True))


def _clip_members(clip: Clip, features: Features) -> list[bytes]:
    if clip.frames.shape != features.shape:
        raise ValueError(f"clip {clip.key}: frames are {list(clip.frames.shape)}, not {list(features.shape)}")
    about = {"key": clip.key, "source": clip.source, "frames": len(clip.frames), "rate": clip.rate}
    return [_encode_frames(clip.frames, features.codec), _encode_json({**about, "factors": dict(clip.factors)})]


def _segment_members(segment: Segment, features: Features) -> list[bytes]:
    if features.mel is None or segment.mel.shape != features.shape:
        raise ValueError(f"segment {segment.key}: mel is {list(segment.mel.shape)}, not {list(features.shape)}")
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


def check_rows(frames: int, height: int, codec: Codec) -> None:
    """Raise `ValueError` if the frames of a clip are too long for one WebP image."""
    if codec == "webp" and frames * height > _WEBP_MAX_ROWS:
        reason = f"are more than WebP's {_WEBP_MAX_ROWS} rows: use --codec npy"
        raise ValueError(f"{frames} frames of {height} rows {reason}")


def _encode_frames(frames: NDArray[np.uint8], codec: Codec) -> bytes:
    if codec == "npy":
        return _encode_npy(frames)
    length, height, width, channels = frames.shape
    tall = frames.reshape(length * height, width, channels)
    if codec == "png":
        return bytes(imagecodecs.png_encode(np.ascontiguousarray(tall), level=9))
    check_rows(length, height, codec)
    rgb = np.ascontiguousarray(np.broadcast_to(tall, (length * height, width, 3)))
    return bytes(imagecodecs.webp_encode(rgb, level=80, lossless=True, method=2))


def decode_array(data: bytes | memoryview, codec: Codec, out: NDArray[Any]) -> None:
    """Decode a member into the C-contiguous `out`: uint8 `[T, H, W, C]` of a clip, float32 or float16 of a segment.

    The shape in the data's header is compared with `out` before anything is allocated.

    Raises:
        ValueError: If the data cannot be decoded, has another shape or type than `out`, or a value is not finite.
    """
    if codec == "npy":
        out[:] = _npy_array(data, out.shape, out.dtype)
        if out.dtype.kind == "f" and not _all_finite(out):
            raise ValueError("a value is not finite")
    else:
        _decode_frames(data, codec, out)


def _all_finite(values: NDArray[Any]) -> bool:
    if values.dtype == np.float16:  # a full exponent is infinity or NaN; np.isfinite is ten times as slow
        return not bool((values.view(np.uint16) & 0x7C00 == 0x7C00).any())
    return bool(np.isfinite(values).all())


def _decode_frames(data: bytes | memoryview, codec: Codec, out: NDArray[np.uint8]) -> None:
    length, height, width, channels = out.shape
    if len(data) > 2 * out.nbytes + 65_536:
        raise ValueError(f"an image of {len(data)} bytes for {out.nbytes} bytes of frames")
    if not (_is_plain_png(data) if codec == "png" else _is_plain_webp(data)):
        raise ValueError(f"not one lossless {codec} image of 8 bits per channel and nothing else")
    decode: Any = imagecodecs.png_decode if codec == "png" else imagecodecs.webp_decode
    grey_webp = channels == 1 and codec == "webp"  # stored as RGB
    tall = np.empty((length * height, width, 3), np.uint8) if grey_webp else out.reshape(length * height, width, -1)
    try:
        decode(data, out=tall[..., 0] if tall.shape[2] == 1 else tall)
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        raise ValueError(str(error) or type(error).__name__) from None
    if grey_webp:
        out[:] = tall[..., :1].reshape(out.shape)


def _is_plain_png(data: bytes | memoryview) -> bool:
    """Whether it holds only 8-bit grey or RGB pixels: decoders disagree on other chunks, and decompress them."""
    offset, kind = 8, b""
    while offset < len(data):
        before, kind = kind, bytes(data[offset + 4 : offset + 8])
        if kind not in _PNG_CHUNKS[before]:
            return False
        offset += 12 + int.from_bytes(data[offset : offset + 4], "big")
    ended = offset == len(data) and data[-12:-4] == b"\0\0\0\0IEND"
    return ended and data[24:25] == b"\x08" and data[25:26] in (b"\0", b"\2")


def _is_plain_webp(data: bytes | memoryview) -> bool:
    """Whether it is one lossless chunk without alpha, and not a byte more."""
    if len(data) < _WEBP_HEADER.size:
        return False
    riff, size, kind, chunk, image = _WEBP_HEADER.unpack_from(data)
    whole = size == len(data) - 8 == 12 + chunk + chunk % 2 and (chunk % 2 == 0 or data[-1] == 0)
    # above the 14 bits of width and of height: whether there is alpha, and the version
    return riff == b"RIFF" and kind == b"WEBPVP8L" and image >> 28 == 0 and whole


def _npy_array(data: bytes | memoryview, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
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
    name: str, classes: Sequence[str] | None, values: Sequence[Any], records: Sequence[str], frames: int
) -> NDArray[np.int64] | NDArray[np.float32]:
    """Return one factor of several records: int64 `[B]` classes or float32 `[B, frames, ...]` trajectories.

    `classes` is None for a trajectory. `values` are those in the records' JSON, None where missing; `records` has the
    names for error messages.

    Raises:
        ShardError: If a value is not a class, or not finite numbers for each frame in one shape.
    """
    if classes is None:
        tracks = [_trajectory(name, value, frames, record) for value, record in zip(values, records, strict=True)]
        if len({track.shape for track in tracks}) > 1:
            raise ShardError(f"{records[0]} and others: their {name} differ in shape")
        return np.stack(tracks) if tracks else np.empty((0, frames), np.float32)
    for value, record in zip(values, records, strict=True):
        if type(value) is not int or not 0 <= value < len(classes):
            raise ShardError(f"{record}: {name} is {repr(value)[:80]}, not a class from 0 to {len(classes) - 1}")
    return np.array(values, np.int64)


def _trajectory(name: str, value: Any, frames: int, record: str) -> NDArray[np.float32]:
    leaves = np.array(value, object)  # with another type, numpy converts null, true and "1" to numbers
    if leaves.ndim and len(leaves) == frames and set(map(type, leaves.flat)) <= {int, float}:
        with np.errstate(over="ignore"):
            track = leaves.astype(np.float32)
        if np.isfinite(track).all():
            return track
    raise ShardError(f"{record}: {name} is not a trajectory, numbers for each of {frames} frames")
