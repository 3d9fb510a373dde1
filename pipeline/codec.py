"""Records to tar members and back; the only place that decodes bytes, and never by pickle."""

from __future__ import annotations

import io
import json
from importlib.metadata import version
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.manifest import Codec, Features
from seqviews.pipeline.records import Clip

WEBP_MAX_ROWS = 16_383
MAX_JSON_BYTES = 1 << 20


def encoder_versions(codec: Codec) -> dict[str, str]:
    """The versions that decide a shard's bytes."""
    versions = {"numpy": np.__version__}
    if codec != "npy":
        versions["imagecodecs"] = version("imagecodecs")
        versions["lib" + codec] = str(getattr(imagecodecs, f"{codec}_version")())
    return versions


def encode_clip(clip: Clip, features: Features) -> dict[str, bytes]:
    """The members of a clip, by extension: its frames and its JSON.

    The frames are stacked down one tall picture, `T * H` rows of `W` pixels, which any viewer opens.

    Raises:
        ValueError: If the clip is not of the data set's shape, or is too long for WebP.
    """
    if clip.frames.shape != features.shape:
        raise ValueError(f"clip {clip.key}: frames are {list(clip.frames.shape)}, not {list(features.shape)}")
    about = {"key": clip.key, "source": clip.source, "frames": len(clip.frames), "rate": clip.rate}
    text = json.dumps({**about, "factors": dict(clip.factors)}, separators=(",", ":"))
    return {"frames." + features.codec: _encode_frames(clip.frames, features.codec), "json": text.encode()}


def _encode_frames(frames: NDArray[np.uint8], codec: Codec) -> bytes:
    if codec == "npy":
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(frames), version=(1, 0), allow_pickle=False)
        return buffer.getvalue()
    length, height, width, channels = frames.shape
    tall = frames.reshape(length * height, width, channels)
    if codec == "png":
        return bytes(imagecodecs.png_encode(np.ascontiguousarray(tall), level=9))
    if length * height > WEBP_MAX_ROWS:
        raise ValueError(f"{length} frames of {height} rows are more than WebP's {WEBP_MAX_ROWS} rows: use codec npy")
    rgb = np.ascontiguousarray(np.broadcast_to(tall, (length * height, width, 3)))
    return bytes(imagecodecs.webp_encode(rgb, level=80, lossless=True, method=2))


def decode_frames(data: bytes | memoryview, codec: Codec, out: NDArray[np.uint8]) -> None:
    """Decode a clip's frames into `out`, uint8 `[T, H, W, C]`, C-contiguous.

    Nothing of another size or type is allocated: the shape in the data's header is compared with `out` first.

    Raises:
        ValueError: If the data cannot be decoded or is not of the shape of `out`.
    """
    length, height, width, channels = out.shape
    if codec == "npy":
        out[:] = _npy_array(data, out.shape)
    elif codec == "png":
        shape = (length * height, width) if channels == 1 else (length * height, width, 3)
        _decode_image(imagecodecs.png_decode, data, out.reshape(shape))
    elif channels == 3:
        _decode_image(imagecodecs.webp_decode, data, out.reshape(length * height, width, 3))
    else:
        rgb = np.empty((length * height, width, 3), np.uint8)
        _decode_image(imagecodecs.webp_decode, data, rgb)
        out[:] = rgb[..., :1].reshape(out.shape)


def _decode_image(decode: Any, data: bytes | memoryview, out: NDArray[np.uint8]) -> None:
    try:
        decode(data, out=out)
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        raise ValueError(str(error) or type(error).__name__) from None


def _npy_array(data: bytes | memoryview, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    buffer = io.BytesIO(data)
    try:
        np.lib.format.read_magic(buffer)
        stored, fortran_order, dtype = np.lib.format.read_array_header_1_0(buffer, max_header_size=1024)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError) as error:
        raise ValueError(f"not a version 1.0 .npy array: {error}") from None
    if dtype != np.uint8 or stored != shape or fortran_order:
        raise ValueError(f".npy array is {dtype} {list(stored)}, not uint8 {list(shape)} in C order")
    body = memoryview(data)[buffer.tell() :]
    if len(body) != int(np.prod(shape)):
        raise ValueError(f".npy array has {len(body)} bytes, its header says {int(np.prod(shape))}")
    return np.frombuffer(body, np.uint8).reshape(shape)


def decode_json(data: bytes | memoryview) -> dict[str, Any]:
    """The record's JSON member as a dict.

    Raises:
        ValueError: If it is larger than 1 MiB or not a JSON object.
    """
    if len(data) > MAX_JSON_BYTES:
        raise ValueError(f"JSON of {len(data)} bytes is over the limit of {MAX_JSON_BYTES}")
    try:
        about = json.loads(bytes(data))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(about, dict):
        raise ValueError("not a JSON object")
    return about
