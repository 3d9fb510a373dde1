"""Excerpt: which frames of a record a batch holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np

from seqviews.pipeline.manifest import DatasetInfo
from seqviews.pipeline.shards.strict_json import integer

Place: TypeAlias = Literal["random", "first", "centre", "all"]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """`frames` frames of a record, every `step`-th, from a place that depends only on seed, epoch and record.

    A record shorter than `span` frames has no excerpt: a stream skips it.

    Attributes:
        frames, step: Number of frames, and the distance from each to the next.
        place: `random` is uniform over all places where an excerpt fits. `first` and `centre` are fixed. `all` gives
            as many excerpts of a record as fit one after another, each a record of the epoch.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If an attribute is out of range.

    Example:
        >>> excerpt = Excerpt(frames=3, step=2, place="centre")
        >>> list(excerpt.of(11, seed=0, epoch=0, index=0))
        [3, 5, 7]
    """

    frames: int
    step: int = 1
    place: Place = "random"

    def __post_init__(self) -> None:
        if integer("frames", self.frames) < 1 or integer("step", self.step) < 1 or self.place not in get_args(Place):
            places = ", ".join(get_args(Place))
            raise ValueError(f"{self} is not an excerpt: frames and step are at least 1, place one of {places}")

    @property
    def span(self) -> int:
        """Frames from the first to the last, both included."""
        return (self.frames - 1) * self.step + 1

    def count(self, length: int) -> int:
        """Number of excerpts of a record of `length` frames; 0 if it is too short."""
        if length < self.span:
            return 0
        return 1 + (length - self.span) // (self.frames * self.step) if self.place == "all" else 1

    def of(self, length: int, seed: int, epoch: int, index: int, number: int = 0) -> range:
        """Return the frames of an excerpt of a record.

        Args:
            length: Number of frames of the record, at least `span`.
            seed: Of the stream.
            epoch: Of the batch.
            index: Of the record in its split; `random` depends on nothing else.
            number: Which of the excerpts, below `count(length)`.
        """
        room = length - self.span
        if self.place == "random":
            # numpy guarantees the words of a SeedSequence across versions; the key keeps them apart from other draws
            word = np.random.SeedSequence((seed, epoch, index), spawn_key=(0,)).generate_state(1, np.uint64)[0]
            start = int(word) * (room + 1) >> 64
        else:
            start = {"first": 0, "centre": room // 2, "all": number * self.frames * self.step}[self.place]
        return range(start, start + self.span, self.step)

    def described(self, info: DatasetInfo) -> DatasetInfo:
        """The description of a data set of excerpts of the records of another."""
        features = info.features
        shape, rate = (self.frames, *features.shape[1:]), features.rate and features.rate / self.step
        return replace(info, features=replace(features, shape=shape, rate=rate, min_frames=None))
