"""Stochastic Moving MNIST: handwritten digits that bounce at random [Denton and Fergus, ICML 2018]."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.datasets.digits import CLASSES, Digits
from seqviews.pipeline.manifest import SPLITS, Codec, DatasetInfo, Features, Split
from seqviews.pipeline.records import Clip
from seqviews.pipeline.shards.codec import check_rows

MIN_SIZE, MAX_SIZE = 16, 4096
MAX_FRAMES = 20_000  # the trajectory of two digits stays below the limit of a record's JSON


@dataclass(frozen=True, eq=False)
class MovingDigits:
    """Clips of one or two digits that move over a black square; overlapping digits are added and clipped at white.

    A digit moves by whole pixels at a constant velocity. A step that would leave the frame ends at the wall, and a new
    velocity is drawn: away from the wall that was hit, and any velocity along it. At 64 pixels the digit's box is 28
    wide and the velocity is at most 4 per frame in x and in y; both scale with the frame, the box down to 8.

    Of the images of each class, 80 % are used for training, 10 % for validation and 10 % for testing, in a fixed order,
    so that no image is in two splits. Static factor: `digits`, the class or the unordered pair of classes.
    Dynamic factor: `trajectory` `[T, n, 2]`, the (column, row) of the centre of each digit's box in pixels, where the
    centre of the first pixel is (0, 0); digits are sorted by class, then by their first column.

    Attributes:
        digits: The images.
        clips: Number of clips in train, val and test; a split with none is left out.
        digits_per_clip: 1 or 2.
        frames, size, codec: Frames in a clip, their height and width, and how they are stored.

    Raises:
        ValueError: If one of these is out of bounds, or a class has too few images for three splits.
    """

    digits: Digits
    clips: tuple[int, int, int]
    digits_per_clip: int = 1
    frames: int = 15
    size: int = 64
    codec: Codec = "webp"

    def __post_init__(self) -> None:
        if min(self.clips) < 0 or not any(self.clips):
            raise ValueError(f"clips for train, val and test are {list(self.clips)}: give three counts, not all 0")
        if self.digits_per_clip not in (1, 2):
            raise ValueError(f"{self.digits_per_clip} digits in a clip: only 1 or 2 are possible")
        if not MIN_SIZE <= self.size <= MAX_SIZE:
            raise ValueError(f"frames of {self.size} pixels: the size must be {MIN_SIZE} to {MAX_SIZE}")
        if not 1 <= self.frames <= MAX_FRAMES:
            raise ValueError(f"clips of {self.frames} frames: must be 1 to {MAX_FRAMES}")
        check_rows(self.frames, self.size, self.codec)
        counts = np.bincount(self.digits.labels, minlength=CLASSES)
        if counts.min() < len(SPLITS):
            raise ValueError(f"the digit {counts.argmin()} has {counts.min()} images, too few for three splits")

    @property
    def info(self) -> DatasetInfo:
        """See `Preprocessor.info`."""
        return DatasetInfo(
            name="smmnist",
            licence=self.digits.licence,
            attribution=self.digits.attribution,
            features=Features((self.frames, self.size, self.size, 1), codec=self.codec),
            static={"digits": ["+".join(map(str, classes)) for classes in self._class_tuples]},
            dynamic={"trajectory": None},
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything but the seed that decides the records."""
        digits = {"name": self.digits.name, "images": len(self.digits.images), "sha256": self.digits.sha256}
        clips = dict(zip(SPLITS, self.clips, strict=True))
        return {"digits": digits, "digits_per_clip": self.digits_per_clip, "clips": clips}

    @property
    def box(self) -> int:
        """Height and width of a digit, in pixels."""
        return max(8, round(self.size * 28 / 64))

    @property
    def speed(self) -> int:
        """The largest velocity in x and in y, in pixels per frame."""
        return max(1, round(self.size * 4 / 64))

    def sources(self, split: Split) -> Sequence[str]:
        """The names of a split's clips."""
        return [f"{split}-{number:06d}" for number in range(self.clips[SPLITS.index(split)])]

    def records(self, source: str, rng: np.random.Generator) -> Iterator[Clip]:
        """The single clip of a source; its images and their motion are drawn from `rng`."""
        images = rng.choice(self._pools[source.partition("-")[0]], self.digits_per_clip, replace=False).tolist()
        paths = [bounce(rng, self.frames, self.size - self.box, self.speed) for _ in images]
        drawn = zip(self.digits.labels[images].tolist(), (tuple(path[0]) for path in paths), images, paths, strict=True)
        ordered = sorted(drawn, key=lambda digit: digit[:3])
        frames = np.zeros((self.frames, self.size, self.size), np.uint16)
        for *_, image, path in ordered:
            digit = resize(self.digits.images[image], self.box)
            for frame, (x, y) in zip(frames, path.tolist(), strict=True):
                frame[y : y + self.box, x : x + self.box] += digit
        centres = np.stack([path for *_, path in ordered], axis=1) + (self.box - 1) / 2
        classes = self._class_tuples.index(tuple(label for label, *_ in ordered))
        names = "+".join(f"{self.digits.name}-{image:05d}" for *_, image, _ in ordered)
        pixels = frames.clip(max=255).astype(np.uint8)[..., np.newaxis]
        yield Clip(source, pixels, {"digits": classes, "trajectory": centres.tolist()}, names)

    @property
    def _class_tuples(self) -> list[tuple[int, ...]]:
        return list(itertools.combinations_with_replacement(range(CLASSES), self.digits_per_clip))

    @cached_property
    def _pools(self) -> dict[str, NDArray[np.int64]]:
        """The images of each split, by number."""
        rng = np.random.default_rng(0)  # the seed of the preparation must not move an image to another split
        parts: dict[str, list[NDArray[np.int64]]] = {split: [] for split in SPLITS}
        for label in range(CLASSES):
            images = rng.permutation(np.flatnonzero(self.digits.labels == label))
            held = max(1, len(images) // 10)
            for split, part in zip(SPLITS, np.split(images, [len(images) - 2 * held, len(images) - held]), strict=True):
                parts[split].append(part)
        return {split: np.concatenate(part) for split, part in parts.items()}


def bounce(rng: np.random.Generator, frames: int, limit: int, speed: int) -> NDArray[np.int64]:
    """A random path `[frames, 2]` in the square from 0 to `limit`; a wall gives a new velocity, at most `speed`.

    >>> bounce(np.random.default_rng(1), frames=6, limit=6, speed=2).tolist()
    [[3, 3], [4, 5], [5, 6], [6, 5], [5, 5], [4, 5]]
    """
    position = rng.integers(0, limit, 2, endpoint=True)
    velocity = rng.integers(-speed, speed, 2, endpoint=True)
    path = np.empty((frames, 2), np.int64)
    for t in range(frames):
        path[t] = position
        moved = position + velocity
        position = moved.clip(0, limit)
        hit = moved != position
        if hit.any():
            away = np.sign(position - moved) * rng.integers(1, speed, 2, endpoint=True)
            velocity = np.where(hit, away, rng.integers(-speed, speed, 2, endpoint=True))
    return path


def resize(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Resize a square image by bicubic interpolation, antialiased where it shrinks, as Pillow's."""
    if len(image) == side:
        return image
    weights = _bicubic(len(image), side)
    return np.rint(weights @ image @ weights.T).clip(0, 255).astype(np.uint8)


def _bicubic(old: int, new: int) -> NDArray[np.float64]:
    """`[new, old]`, the weights of a row's old pixels in its new pixels: Keys' cubic, a = -1/2."""
    scale = old / new
    centres = (np.arange(new) + 0.5) * scale - 0.5
    d = np.abs(np.arange(old) - centres[:, np.newaxis]) / max(scale, 1)
    near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    weights = np.where(d < 1, near, np.where(d < 2, far, 0))
    normalised: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normalised
