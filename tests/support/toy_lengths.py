"""Data sets of random clips and segments that differ in length, in a module that worker processes can import."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.features import Features, MelFeatures
from seqviews.pipeline.manifest import DatasetInfo
from seqviews.pipeline.records import Clip, Factor, Record, Segment

LENGTHS = (5, 9, 16, 17, 23, 30)
MELS = 80


@dataclass(frozen=True)
class ToyLengths:
    """Sources of a clip or segment of each length; frame t of a record has t in its trajectory `time`."""

    features: Features
    lengths: tuple[int, ...] = LENGTHS

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo("toy", "CC0-1.0", "nobody", self.features, {"kind": ["even", "odd"]}, {"time": None})

    def records(self, source: str, rng: np.random.Generator) -> Iterator[Record]:
        for number, length in enumerate(self.lengths):
            factors: dict[str, Factor] = {"kind": number % 2, "time": list(range(length))}
            key, shape = f"{source}-{number}", (length, *self.features.shape[1:])
            if self.features.mel is None:
                yield Clip(key, smooth(shape, rng), factors, source, 25.0)
            else:
                voices = rng.normal(size=(self.features.mel.voices, *shape)).astype(np.float16)
                converted = voices if len(voices) else None
                yield Segment(key, rng.normal(size=shape).astype(np.float32), converted, factors, source)


def smooth(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A clip that lossy codecs keep closely: every frame of its own brightness, with a slope of its own."""
    frames, height, width, channels = shape
    slope = np.linspace(0, 30, height * width).reshape(1, height, width, 1)
    return (slope + rng.integers(0, 200, (frames, 1, 1, channels))).astype(np.uint8)


def clip_features(**options: object) -> Features:
    """Of clips of 5 to 30 frames of 16 x 16."""
    return Features((max(LENGTHS), 16, 16, 3), rate=25.0, min_frames=min(LENGTHS)).stored(**options)  # type: ignore[arg-type]  # as given


def segment_features(voices: int = 2) -> Features:
    """Of segments of 5 to 30 frames."""
    return Features.for_segments(max(LENGTHS), MelFeatures((0.0,) * MELS, (1.0,) * MELS, voices), min(LENGTHS))


def whole_records(features: Features, sources: list[str], seed: int = 0) -> dict[str, Record]:
    """The records as they were before they were stored, by key."""
    from seqviews.pipeline.prepare.plan import plan_shards

    seeds = {name: seed for plan in plan_shards("train", sources, seed, 2) for name, seed in plan.sources}
    toy = ToyLengths(features)
    return {r.key: r for name in sources for r in toy.records(name, np.random.default_rng(seeds[name]))}


def write(out: Path, features: Features, sources: list[str]) -> Path:
    """Prepare the split train, two sources a shard, and return its folder."""
    from seqviews.pipeline.prepare.write import write_shards

    toy = ToyLengths(features)
    write_shards({"train": sources}, out, toy.records, toy.info, shard_sources=2)
    return out / "train"
