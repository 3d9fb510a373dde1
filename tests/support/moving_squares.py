"""Toy clips for evaluation, in a module that the processes of a preparation can import."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from toy_clips import ToyClips

from seqviews.pipeline.features import Features
from seqviews.pipeline.manifest import DatasetInfo
from seqviews.pipeline.records import Clip

SIDE, LENGTH, SQUARE = 16, 4, 4
SHADES = (70, 130, 190, 250)
WAYS = {"right": (2, 0), "left": (-2, 0), "down": (0, 2), "up": (0, -2)}


@dataclass(frozen=True)
class MovingSquares(ToyClips):
    """A square of one of four shades (static) moves one of four ways (dynamic).

    `counts` gives the clips in train, val and test; the path of a square is a trajectory, its way a class.
    """

    counts: tuple[int, int, int] = (512, 64, 64)

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(
            name="squares",
            licence="CC0-1.0",
            attribution="nobody",
            features=Features((LENGTH, SIDE, SIDE, 1), codec="png"),
            static={"shade": [str(shade) for shade in SHADES]},
            dynamic={"way": list(WAYS), "path": None},
        )

    def records(self, source: str, rng: np.random.Generator) -> Iterator[Clip]:
        shade, way = int(rng.integers(len(SHADES))), int(rng.integers(len(WAYS)))
        centre = rng.integers(7, 10, 2)
        step = np.array(list(WAYS.values())[way])
        frames = np.zeros((LENGTH, SIDE, SIDE, 1), np.uint8)
        path = []
        for t in range(LENGTH):
            x, y = centre + step * (t - LENGTH // 2)
            frames[t, y - SQUARE // 2 : y + SQUARE // 2, x - SQUARE // 2 : x + SQUARE // 2] = SHADES[shade]
            path.append([[float(x) - 0.5, float(y) - 0.5]])
        yield Clip(source, frames, {"shade": shade, "way": way, "path": path}, source)
