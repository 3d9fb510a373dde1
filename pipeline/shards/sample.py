"""Samples of other readers: what `webdataset` or Hugging Face `datasets` read from a shard, to what a stream gives."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.features import Features
from seqviews.pipeline.records import ShardError
from seqviews.pipeline.shards.codec import decode_json

if TYPE_CHECKING:
    import torch

IMAGES = {"webp": imagecodecs.webp_decode, "png": imagecodecs.png_decode, "jpg": imagecodecs.jpeg8_decode}


def decode_sample(sample: Mapping[str, Any], features: Features | None = None) -> dict[str, Any]:
    """Decode a sample of a plain `webdataset` pipeline, or of Hugging Face `datasets` after `decode(False)`.

    Nothing is verified against a manifest: that is what `SequenceStream` does. Nothing is unpickled.

    Args:
        sample: The members of a record by extension, not decoded, and `__key__`.
        features: The features of the data set, from a manifest. Without them grey clips that are stored as WebP have
            three equal channels.

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
        record["factors"] = {name: value for name, value in about.get("factors", {}).items() if value is not None}
        if "mel.npy" in sample:
            record["x"] = torch.from_numpy(_array(sample["mel.npy"], np.float32))
            if "converted.npy" in sample:
                record["converted"] = torch.from_numpy(_array(sample["converted.npy"], np.float16))
        else:
            record["x"] = _clip(sample, int(about["frames"]), features)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = f"has no {error}" if isinstance(error, KeyError) else str(error)
        raise ShardError(f"sample {key}: {reason}") from None
    return record


def _clip(sample: Mapping[str, Any], frames: int, features: Features | None) -> torch.Tensor:
    import torch

    pages = sorted(name for name in sample if name.startswith("frames"))
    if not pages:
        raise ValueError(f"has no frames: its members are {', '.join(map(str, sample))}")
    decoded = [_page(name, sample[name]) for name in pages]
    rows = sum(len(page) for page in decoded)
    stacked = np.concatenate(decoded)
    clip = stacked if stacked.ndim == 4 else stacked.reshape(frames, rows // frames, stacked.shape[1], -1)
    if len(clip) != frames:
        raise ValueError(f"has {len(clip)} frames, its JSON says {frames}")
    if features is not None:
        clip = clip[..., : features.shape[3]]
    return torch.from_numpy(np.ascontiguousarray(clip)).permute(0, 3, 1, 2)


def _page(name: str, value: Any) -> NDArray[np.uint8]:
    """Return the frames of a member: uint8 `[T * H, W]` or `[T * H, W, C]` of an image, `[T, H, W, C]` of an array."""
    suffix = name.rpartition(".")[2]
    if suffix == "npy":
        return _array(value, np.uint8)
    image: NDArray[np.uint8] = IMAGES[suffix](_bytes(value))
    return image


def _array(value: Any, dtype: type[np.generic]) -> NDArray[Any]:
    """Return an array from a .npy file, or from what a reader has made of it."""
    if isinstance(value, bytes | Mapping):
        value = np.load(io.BytesIO(_bytes(value)), allow_pickle=False)
    return np.ascontiguousarray(value, dtype)


def _bytes(value: Any) -> bytes:
    data = value.get("bytes") if isinstance(value, Mapping) else value
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ValueError(f"is decoded already, to {type(value).__name__}: leave out decode(), or use decode(False)")
    return bytes(data)
