"""Clip, Segment and Batch: what a data set yields and what a trainer receives."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # writing shards does not need torch
    import torch

T = TypeVar("T")
Factor: TypeAlias = int | list[Any]
"""A label of a record: a class index, or a trajectory as nested lists of numbers."""
Progress: TypeAlias = Callable[[str, float, float], None]
"""Reports progress: a description, the amount done and the total."""
KEY_PATTERN = re.compile(r"[a-z0-9_-]{1,80}")


def silent(description: str, done: float, total: float) -> None:
    """Report no progress."""


class ShardError(ValueError):
    """Stored data contradicts its manifest: the message names the shard, the member and the reason."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A video sequence with its key, factors and provenance.

    Attributes:
        key: Name, unique in the split, `[a-z0-9_-]{1,80}`.
        frames: uint8 `[T, H, W, C]`, where C is 1 (grey) or 3 (RGB).
        factors: Labels by name, for evaluation only.
        source: What the clip was cut from, for example the character or the video file.
        rate: Frames per second, or None if unknown.

    Raises:
        ValueError: If the key or the frames do not match this description.
    """

    key: str
    frames: NDArray[np.uint8]
    factors: Mapping[str, Factor] = field(default_factory=dict)
    source: str = ""
    rate: float | None = None

    def __post_init__(self) -> None:
        _check_key(self.key)
        if self.frames.dtype != np.uint8 or self.frames.ndim != 4 or self.frames.shape[3] not in (1, 3):
            found = f"{self.frames.dtype} {list(self.frames.shape)}"
            raise ValueError(f"clip {self.key}: frames are {found}, not uint8 [T, H, W, 1 or 3]")


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """A stretch of an utterance with its key, factors and provenance.

    Attributes:
        key, factors, source, rate: As in `Clip`; the source is the utterance.
        mel: float32 `[T, n_mels]`, natural logarithm of the mel power, not normalised.
        converted: float16 `[K, T, n_mels]`, the same stretch in K other voices, or None.
        start: Seconds from the start of the source to the first frame.

    Raises:
        ValueError: If an attribute does not match this description, or a value is not finite.
    """

    key: str
    mel: NDArray[np.float32]
    converted: NDArray[np.float16] | None = None
    factors: Mapping[str, Factor] = field(default_factory=dict)
    source: str = ""
    rate: float = 100.0
    start: float = 0.0

    def __post_init__(self) -> None:
        _check_key(self.key)
        if self.mel.dtype != np.float32 or self.mel.ndim != 2:
            found = f"{self.mel.dtype} {list(self.mel.shape)}"
            raise ValueError(f"segment {self.key}: mel is {found}, not float32 [T, n_mels]")
        voices = self.converted
        if voices is not None and (voices.dtype != np.float16 or voices.shape[1:] != self.mel.shape or not len(voices)):
            found = f"{voices.dtype} {list(voices.shape)}"
            expected = f"float16 [K, {', '.join(map(str, self.mel.shape))}]"
            raise ValueError(f"segment {self.key}: converted is {found}, not {expected}")
        if not np.isfinite(self.mel).all() or (voices is not None and not np.isfinite(voices).all()):
            raise ValueError(f"segment {self.key}: a value is not finite")
        if not (0 < self.rate < math.inf and 0 <= self.start < math.inf):
            raise ValueError(f"segment {self.key}: rate {self.rate} is not over 0, or start {self.start} is below 0")


Record: TypeAlias = Clip | Segment
"""A record as a shard stores it."""


def _check_key(key: str) -> None:
    if not KEY_PATTERN.fullmatch(key):
        raise ValueError(f"record key {key!r} is not made of 1 to 80 of the characters a-z 0-9 _ -")


@dataclass(slots=True, eq=False)
class Batch:
    """What a trainer receives from a stream.

    Attributes:
        x: uint8 `[B, T, C, H, W]` clips, channels last in memory, or float32 `[B, T, n_mels]` segments; not scaled.
            Records that differ in length are padded with 0 to the longest of the batch, unless there is an excerpt.
        keys: The records' keys.
        indices: int64 `[B]`, the position of each record in its split.
        epoch: The epoch of the batch; with a seed and the index it determines a record's views.
        factors: The requested factors: int64 `[B]` classes or float32 `[B, T, ...]` trajectories.
        converted: float16 `[B, K, T, n_mels]`, the segments in K other voices; None if the data set has none.
        lengths: int64 `[B]`, the number of frames of each record, where they are padded; else None.
        starts: int64 `[B]`, the number of the first frame of each excerpt in its record; None without an excerpt.
    """

    x: torch.Tensor
    keys: list[str]
    indices: torch.Tensor
    epoch: int
    factors: dict[str, torch.Tensor]
    converted: torch.Tensor | None = None
    lengths: torch.Tensor | None = None
    starts: torch.Tensor | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch with its tensors on another device."""
        return self._with(lambda x: x.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, from where copies to a GPU do not block."""
        return self._with(lambda x: x.pin_memory())

    def by_length(self) -> Iterator[Batch]:
        """Yield batches of records of the same length, without padding; the batch itself if it has none."""
        if self.lengths is None:
            yield self
            return
        for length in sorted(set(self.lengths.tolist())):
            rows = (self.lengths == length).nonzero()[:, 0]
            yield Batch(
                x=self.x[rows, :length],
                keys=[self.keys[row] for row in rows.tolist()],
                indices=self.indices[rows],
                epoch=self.epoch,
                factors={n: f[rows] if f.ndim == 1 else f[rows, :length] for n, f in self.factors.items()},
                converted=None if self.converted is None else self.converted[rows, :, :length],
            )

    def _with(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        return replace(
            self,
            x=change(self.x),
            indices=change(self.indices),
            factors={name: change(factor) for name, factor in self.factors.items()},
            converted=None if self.converted is None else change(self.converted),
            lengths=None if self.lengths is None else change(self.lengths),
            starts=None if self.starts is None else change(self.starts),
        )


def endless(batches: Iterable[T]) -> Iterator[T]:
    """Yield the batches of one epoch after another; the `state_dict()` of a stream counts what this has yielded.

    Example:
        >>> from itertools import islice
        >>> list(islice(endless(["a", "b"]), 5))
        ['a', 'b', 'a', 'b', 'a']
    """
    while True:
        yield from batches
