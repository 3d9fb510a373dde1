"""A data set of small random clips, in a module that worker processes can import."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seqviews.pipeline.features import Codec, Features
from seqviews.pipeline.manifest import SPLITS, DatasetInfo, Split
from seqviews.pipeline.records import Clip, Factor


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@dataclass(frozen=True)
class ToyClips:
    """Small random clips: `counts` gives the number of sources in train, val and test; three clips a source."""

    counts: tuple[int, int, int] = (12, 3, 3)
    shape: tuple[int, int, int, int] = (4, 16, 16, 3)
    codec: Codec = "webp"

    @property
    def info(self) -> DatasetInfo:
        features = Features(self.shape, rate=10.0, codec=self.codec)
        return DatasetInfo("toy", "CC0-1.0", "nobody", features, {"shade": ["dark", "light"]}, {"path": None})

    @property
    def parameters(self) -> dict[str, Any]:
        return {"counts": list(self.counts)}

    def sources(self, split: Split) -> list[str]:
        return [f"{split}-{i}" for i in range(self.counts[SPLITS.index(split)])]

    def records(self, source: str, rng: np.random.Generator) -> Iterator[Clip]:
        for i in range(3):
            frames = rng.integers(0, 256, self.shape, dtype=np.uint8)
            factors: dict[str, Factor] = {"shade": i % 2, "path": [[float(i), t] for t in range(self.shape[0])]}
            yield Clip(f"{source}-{i}", frames, factors, source, 10.0)


@dataclass(frozen=True)
class FailingClips(ToyClips):
    """The same, with a source that cannot be read."""

    def records(self, source: str, rng: np.random.Generator) -> Iterator[Clip]:
        if source == "train-7":
            raise ValueError("train-7 cannot be read")
        yield from super().records(source, rng)


@dataclass(frozen=True)
class FragileClips(ToyClips):
    """The second record of a source cannot be read while a file of its name is in a folder."""

    broken: Path = Path()

    def records(self, source: str, rng: np.random.Generator) -> Iterator[Clip]:
        for number, clip in enumerate(super().records(source, rng)):
            if number and (self.broken / source).exists():
                raise KeyError(f"{source}\nis broken")
            yield clip


@dataclass(frozen=True)
class SlowClips(ToyClips):
    """The same, whose sources take a second each."""

    def records(self, source: str, rng: np.random.Generator) -> Iterator[Clip]:
        time.sleep(1)
        yield from super().records(source, rng)
