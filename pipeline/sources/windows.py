"""How files are cut into clips or segments, and what a first reading of a file finds out."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.manifest import Codec, Features, MelFeatures, MelParameters
from seqviews.pipeline.records import Clip, Record, Segment
from seqviews.pipeline.shards.codec import WEBP_MAX_ROWS
from seqviews.pipeline.sources.audio import log_mel, read_wave
from seqviews.pipeline.sources.video import decode_video, fit, list_pictures, read_picture, upright, video_rate

Frame = TypeVar("Frame")


@dataclass(frozen=True, slots=True)
class Window:
    """Sequences of `frames` frames, one beginning every `stride` frames.

    Raises:
        ValueError: If one of them is less than 1.

    Example:
        >>> window = Window(frames=3, stride=2)
        >>> list(window.cut("abcdefgh")), window.count(8), window.left_out(8)
        ([['a', 'b', 'c'], ['c', 'd', 'e'], ['e', 'f', 'g']], 3, 1)
    """

    frames: int
    stride: int

    def __post_init__(self) -> None:
        if self.frames < 1 or self.stride < 1:
            raise ValueError(f"sequences of {self.frames} frames, every {self.stride}: both must be at least 1")

    def count(self, length: int) -> int:
        """How many sequences are cut from `length` frames."""
        return max(0, 1 + (length - self.frames) // self.stride)

    def left_out(self, length: int) -> int:
        """How many of `length` frames are in no sequence."""
        count = self.count(length)
        return length - (self.frames + (count - 1) * min(self.stride, self.frames) if count else 0)

    def cut(self, frames: Iterable[Frame]) -> Iterator[list[Frame]]:
        """The sequences, as they become whole."""
        held: deque[Frame] = deque(maxlen=self.frames)
        for number, frame in enumerate(frames, 1 - self.frames):
            held.append(frame)
            if number >= 0 and number % self.stride == 0:
                yield list(held)


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a first reading of a file found out.

    Attributes:
        frames: How many there are to cut sequences from.
        rate: Frames per second, None if unknown.
        sha256: Of its content.
        sums: float64 `[2, n_mels]`, the sum of the mels and of their squares over the frames in segments.
    """

    frames: int
    rate: float | None
    sha256: str
    sums: NDArray[np.float64] | None = None


class Cutter(Protocol):
    """Cuts one kind of file into records. It is sent to other processes, so it must pickle."""

    @property
    def window(self) -> Window:
        """Which frames are in a record."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What decides the records beside the files, for the manifest."""

    def look(self, file: Path, stop: Event) -> Look:
        """Read a file from beginning to end, or until `stop` is set; what is wrong with it is raised."""

    def features(self, looks: Sequence[Look], train: Sequence[Look]) -> Features:
        """What the records look like, given all the files and those for training."""

    def records(self, file: Path, key: str, **about: Any) -> Iterator[Record]:
        """The records of a file; their keys begin with `key`, and they are all told `about`."""


@dataclass(frozen=True, slots=True)
class ClipCutter:
    """Clips of `size` x `size` pixels from video files, or from folders of pictures.

    Attributes:
        pictures: True for folders of pictures.
        window: Which of the frames are in a clip.
        step: Every how many-th frame of the file is taken.
        size: Height and width.
        grey: One channel instead of three.
        codec: How frames are stored.

    Raises:
        ValueError: If one of these is out of its bounds.
    """

    pictures: bool
    window: Window
    step: int = 1
    size: int = 64
    grey: bool = False
    codec: Codec = "webp"

    def __post_init__(self) -> None:
        if self.step < 1 or not 1 <= self.size <= 4096:
            raise ValueError(f"every {self.step}th frame in {self.size} pixels: at least 1, and 1 to 4096")
        if self.codec == "webp" and self.window.frames * self.size > WEBP_MAX_ROWS:
            raise ValueError(
                f"{self.window.frames} frames of {self.size} rows are more than WebP's {WEBP_MAX_ROWS}: use --codec npy"
            )

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the clips beside the files."""
        return {"stride": self.window.stride, "frame_step": self.step}

    def look(self, file: Path, stop: Event) -> Look:
        """Decode every frame once."""
        if self.pictures:
            pictures = list_pictures(file)[:: self.step]
            shapes = {read_picture(picture).shape: picture for picture in _until(stop, pictures)}
            if len(shapes) > 1:
                (one, first), (other, second) = list(shapes.items())[:2]
                raise ValueError(
                    f"{first} is {one[1]} x {one[0]} and {second.name} is {other[1]} x {other[0]}: "
                    "the frames of a folder are of one size"
                )
            return Look(len(pictures), None, _sha256(pictures))
        frames = sum(1 for _ in _until(stop, decode_video(file)))
        rate = video_rate(file)
        return Look(-(-frames // self.step), rate and rate / self.step, _sha256([file]))

    def features(self, looks: Sequence[Look], train: Sequence[Look]) -> Features:
        """Shape, codec, and the rate if all files agree on it."""
        rates = {look.rate for look in looks}
        shape = (self.window.frames, self.size, self.size, 1 if self.grey else 3)
        return Features(shape, rate=rates.pop() if len(rates) == 1 else None, codec=self.codec)

    def records(self, file: Path, key: str, **about: Any) -> Iterator[Clip]:
        """The clips of a file, in order."""
        if self.pictures:
            pixels = map(read_picture, list_pictures(file)[:: self.step])
        else:
            pixels = map(upright, islice(decode_video(file), 0, None, self.step))
        fitted = (fit(frame, self.size, self.grey) for frame in pixels)
        for number, frames in enumerate(self.window.cut(fitted)):
            yield Clip(f"{key}-{number:05d}", np.stack(frames), **about)


@dataclass(frozen=True, slots=True)
class SegmentCutter:
    """Log-mel segments, one behind the other, from sound files."""

    window: Window
    mel: MelParameters = field(default_factory=MelParameters)

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the segments beside the files."""
        return {"stride": self.window.stride}

    def look(self, file: Path, stop: Event) -> Look:
        """Read the wave and add up its mels."""
        mels = self._mels(file)
        used = mels[: len(mels) - self.window.left_out(len(mels))].astype(np.float64)
        rate = self.mel.sample_rate / self.mel.hop_length
        return Look(len(mels), rate, _sha256([file]), np.stack([used.sum(axis=0), np.square(used).sum(axis=0)]))

    def features(self, looks: Sequence[Look], train: Sequence[Look]) -> Features:
        """Shape and rate, and each mel's mean and deviation over the segments for training.

        Raises:
            ValueError: If there are none for training.
        """
        frames = sum(look.frames - self.window.left_out(look.frames) for look in train)
        if not frames:
            raise ValueError("no file of the split train is as long as a segment: mean and deviation come from there")
        mean, square = np.stack([look.sums for look in train if look.sums is not None]).sum(axis=0) / frames
        std = np.sqrt(np.maximum(square - mean**2, 0))
        return Features.for_segments(
            self.window.frames, MelFeatures(tuple(mean.tolist()), tuple(std.tolist()), parameters=self.mel)
        )

    def records(self, file: Path, key: str, **about: Any) -> Iterator[Segment]:
        """The segments of a file, in order."""
        for number, frames in enumerate(self.window.cut(self._mels(file))):
            start = number * self.window.stride * self.mel.hop_length / self.mel.sample_rate
            yield Segment(f"{key}-{number:05d}", np.stack(frames), start=start, **about)

    def _mels(self, file: Path) -> NDArray[np.float32]:
        """float32 `[frames, n_mels]`; none if the wave is shorter than one transform."""
        wave = read_wave(file, self.mel.sample_rate)
        if len(wave) < self.mel.n_fft:
            return np.empty((0, self.mel.n_mels), np.float32)
        return log_mel(wave, self.mel)


def _until(stop: Event, items: Iterable[Frame]) -> Iterator[Frame]:
    """Items, until somebody wants to stop."""
    for item in items:
        if stop.is_set():
            raise InterruptedError("stopped")
        yield item


def _sha256(files: Iterable[Path]) -> str:
    """Of the contents of files, in order."""
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
