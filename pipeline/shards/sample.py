"""Samples of other readers: what `webdataset` or Hugging Face `datasets` read from a shard, to what a stream gives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.features import Codec, Features
from seqviews.pipeline.manifest import MAX_RECORD_BYTES
from seqviews.pipeline.records import ShardError
from seqviews.pipeline.shards.codec import data_extensions, decode_json, npy_array, npy_shape
from seqviews.pipeline.shards.images import decode_image, image_shape
from seqviews.pipeline.shards.strict_json import integer

if TYPE_CHECKING:
    import torch

CODECS: dict[str, Codec] = {"webp": "webp", "png": "png", "jpg": "jpeg"}


def decode_sample(sample: Mapping[str, Any], features: Features | None = None) -> dict[str, Any]:
    """Decode a sample of a plain `webdataset` pipeline, or of Hugging Face `datasets` after `decode(False)`.

    Nothing is verified against a manifest: that is what `SequenceStream` does. Nothing is unpickled, and only what a
    shard may hold is decoded.

    Args:
        sample: The members of a record by extension, not decoded, and `__key__`.
        features: The features of the data set, from a manifest. Without them grey clips that are stored as WebP have
            three equal channels, and where pages are missing at the end, what is left may be taken for lower frames.

    Returns:
        `key`, `source`, `factors` by name as in the JSON, `rate`, and `x`: a clip, uint8 `[T, C, H, W]`, channels last
        in memory, or a segment, float32 `[T, n_mels]`, with `converted`, float16 `[K, T, n_mels]`, if it has other
        voices.

    Raises:
        ShardError: If a member is missing or cannot be decoded.

    Example:
        >>> members = {"mel.npy": np.zeros((20, 80), np.float32), "json": {"frames": 20, "factors": {"speaker": 3}}}
        >>> record = decode_sample({"__key__": "a-0001", **members})
        >>> record["x"].shape, record["factors"]
        (torch.Size([20, 80]), {'speaker': 3})
    """
    import torch

    key = sample.get("__key__")
    try:
        about = sample["json"] if isinstance(sample["json"], Mapping) else decode_json(_bytes(sample["json"]))
        record = {"key": key, "source": about.get("source", ""), "rate": about.get("rate")}
        factors = about.get("factors", {})
        if not isinstance(factors, Mapping):
            raise ValueError("its factors are no object")
        record["factors"] = {name: value for name, value in factors.items() if value is not None}
        if "mel.npy" in sample:
            record["x"] = torch.from_numpy(_array(sample["mel.npy"], np.float32))
            if "converted.npy" in sample:
                record["converted"] = torch.from_numpy(_array(sample["converted.npy"], np.float16))
        else:
            record["x"] = _clip(sample, integer("frames", about["frames"]), features)
    except (KeyError, ValueError, TypeError) as error:
        reason = f"has no {error}" if isinstance(error, KeyError) else str(error)
        raise ShardError(f"sample {key}: {reason}") from None
    return record


def _clip(sample: Mapping[str, Any], frames: int, features: Features | None) -> torch.Tensor:
    import torch

    found = sorted(name for name, value in sample.items() if name.startswith("frames") and value is not None)
    if not found:
        raise ValueError(f"has no frames: its members are {', '.join(map(str, sample))}")
    suffix = found[0].rpartition(".")[2]
    pages = [f"frames-{page:03d}.{suffix}" for page in range(len(found))]
    if features is not None:
        least, greatest = features.frames
        if not least <= frames <= greatest:
            raise ValueError(f"frames is {frames}, the features say {least} to {greatest}")
        pages = list(data_extensions(features, frames))
    elif found == [f"frames.{suffix}"]:
        pages = found
    if sorted(pages) != found:
        raise ValueError(f"its frames are in {_listed(found)}, not in {_listed(pages)}")
    shapes = [_page_shape(name, sample[name]) for name in pages]
    if sum(map(math.prod, shapes)) > MAX_RECORD_BYTES:
        raise ValueError(f"its frames exceed the limit of {MAX_RECORD_BYTES >> 20} MiB decoded")
    stacked = np.concatenate([_page(name, sample[name], shape) for name, shape in zip(pages, shapes, strict=True)])
    if stacked.ndim == 3:
        height = features.shape[1] if features is not None else max(1, len(stacked) // max(1, frames))
        if any(rows % height for rows, *_ in shapes):
            raise ValueError(f"its frames are in images of {shapes[0][0]} rows, which are not whole frames")
        stacked = stacked.reshape(-1, height, *stacked.shape[1:])
    if len(stacked) != frames:
        raise ValueError(f"has {len(stacked)} frames, its JSON says {frames}")
    if features is not None:
        if features.codec == "webp":  # which stores grey as RGB
            stacked = stacked[..., : features.shape[3]]
        if stacked.shape[1:] != features.shape[1:]:
            raise ValueError(f"its frames are {list(stacked.shape[1:])}, not {list(features.shape[1:])}")
    return torch.from_numpy(np.ascontiguousarray(stacked)).permute(0, 3, 1, 2)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _page_shape(name: str, value: Any) -> tuple[int, ...]:
    """The shape of a member, from its header: `[T * H, W, C]` of an image, `[T, H, W, C]` of an array."""
    suffix = name.rpartition(".")[2]
    if suffix == "npy":
        shape = npy_shape(_bytes(value)) if _is_file(value) else np.shape(value)
        if len(shape) != 4:
            raise ValueError(f"{name} is {list(shape)}, not [T, H, W, C]")
        return shape
    if suffix not in CODECS:
        raise ValueError(f"{name} is none of {', '.join(CODECS)}, npy")
    data = _bytes(value)
    return image_shape(data, CODECS[suffix], lossy=_is_lossy(data))


def _page(name: str, value: Any, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The frames of a member: uint8 of the shape that its header states."""
    suffix = name.rpartition(".")[2]
    if suffix == "npy":
        return _array(value, np.uint8)
    data, image = _bytes(value), np.empty(shape, np.uint8)
    decode_image(data, CODECS[suffix], 1 if _is_lossy(data) else None, image[np.newaxis])
    return image


def _is_lossy(webp: bytes) -> bool:
    return webp[12:16] == b"VP8 "


def _is_file(value: Any) -> bool:
    return isinstance(value, bytes | bytearray | memoryview | Mapping)


def _array(value: Any, dtype: type[np.generic]) -> NDArray[Any]:
    """Return an array from a .npy file, or from what a reader has made of it."""
    if _is_file(value):
        data = _bytes(value)
        return np.array(npy_array(data, npy_shape(data), np.dtype(dtype)))
    return np.ascontiguousarray(value, dtype)


def _bytes(value: Any) -> bytes:
    data = value.get("bytes") if isinstance(value, Mapping) else value
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ValueError(f"is decoded already, to {type(value).__name__}: leave out decode(), or use decode(False)")
    return bytes(data)
