"""Stochastic Moving MNIST: handwritten digits that bounce at random [Denton and Fergus, ICML 2018]."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from seqviews.pipeline.datasets.bounce import below, bounce, bounce_many, path_words
from seqviews.pipeline.datasets.digits import CLASSES, Digits
from seqviews.pipeline.features import Features
from seqviews.pipeline.manifest import SPLITS, DatasetInfo, Manifest, Split
from seqviews.pipeline.records import Clip

NAME = "smmnist"
MIN_SIZE, MAX_SIZE = 16, 4096
MIN_DIGIT = 4
MAX_FRAMES = 20_000  # the trajectory of two digits stays below the limit of a record's JSON


@dataclass(frozen=True, eq=False)
class MovingDigits:
    """Clips of one or two digits that move over a black square; overlapping digits are added and clipped at white.

    A digit moves by whole pixels at a constant velocity. A step that would leave the frame ends at the wall, and a new
    velocity is drawn: away from the wall that was hit, and any velocity along it. At 64 pixels the digit's box is 28
    wide and the velocity is at most 4 per frame in x and in y; both scale with the frame, the box down to 8.

    `records` are to be stored. `make` makes clips of the training split anew, for `MadeStream`.

    Of the images of each class, 80 % are used for training, 10 % for validation and 10 % for testing, in a fixed order,
    so that no image is in two splits. Static factor: `digits`, the class or the unordered pair of classes.
    Dynamic factor: `trajectory` `[T, n, 2]`, the (column, row) of the centre of each digit's box in pixels, where the
    centre of the first pixel is (0, 0); digits are sorted by class, then by their first column.

    Attributes:
        digits: The images.
        clips: Number of clips in train, val and test; a split with none is left out.
        digits_per_clip: 1 or 2.
        frames, size: Frames in a clip, and their height and width.
        digit_size: Height and width of a digit's box, if not as above.

    Raises:
        ValueError: If one of these is out of bounds, or a class has too few images for three splits.
    """

    digits: Digits
    clips: tuple[int, int, int]
    digits_per_clip: int = 1
    frames: int = 15
    size: int = 64
    digit_size: int | None = None

    def __post_init__(self) -> None:
        if min(self.clips) < 0 or not any(self.clips):
            raise ValueError(f"clips for train, val and test are {list(self.clips)}: give three counts, not all 0")
        if self.digits_per_clip not in (1, 2):
            raise ValueError(f"{self.digits_per_clip} digits in a clip: only 1 or 2 are possible")
        if not MIN_SIZE <= self.size <= MAX_SIZE:
            raise ValueError(f"frames of {self.size} pixels: the size must be {MIN_SIZE} to {MAX_SIZE}")
        if not 1 <= self.frames <= MAX_FRAMES:
            raise ValueError(f"clips of {self.frames} frames: must be 1 to {MAX_FRAMES}")
        if not MIN_DIGIT <= self.box < self.size:
            raise ValueError(f"digits of {self.box} pixels: the size must be {MIN_DIGIT} to {self.size - 1}")
        counts = np.bincount(self.digits.labels, minlength=CLASSES)
        if counts.min() < len(SPLITS):
            raise ValueError(f"the digit {counts.argmin()} has {counts.min()} images, too few for three splits")

    @property
    def info(self) -> DatasetInfo:
        """See `Preprocessor.info`."""
        return DatasetInfo(
            name=NAME,
            licence=self.digits.licence,
            attribution=self.digits.attribution,
            features=Features((self.frames, self.size, self.size, 1)),
            static={"digits": ["+".join(map(str, classes)) for classes in self._class_tuples]},
            dynamic={"trajectory": None},
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything but the seed that decides the records."""
        digits = {"name": self.digits.name, "images": len(self.digits.images), "sha256": self.digits.sha256}
        clips = dict(zip(SPLITS, self.clips, strict=True))
        box = {} if self.digit_size is None else {"digit_size": self.digit_size}
        return {"digits": digits, "digits_per_clip": self.digits_per_clip, "clips": clips, **box}

    @property
    def box(self) -> int:
        """Height and width of a digit, in pixels."""
        return max(8, round(self.size * 28 / 64)) if self.digit_size is None else self.digit_size

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

    def make(
        self, seed: int, epoch: int, indices: Sequence[int]
    ) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.int64] | NDArray[np.float32]]]:
        """Clips of the training split, each a pure function of seed, epoch and its index, and their factors.

        The digits are those of the training split, which no clip of another split shows.

        Returns:
            uint8 `[B, T, H, W, 1]`, and by name int64 `[B]` classes and float32 `[B, T, n, 2]` trajectories.
        """
        count, needed = self.digits_per_clip, path_words(self.frames)
        words = _words(seed, epoch, indices, count * (1 + needed))
        pool = self._pools["train"]
        drawn = below(words[:, :1], len(pool))
        if count == 2:  # another image
            second = below(words[:, 1:2], len(pool) - 1)
            drawn = np.concatenate([drawn, second + (second >= drawn)], axis=1)
        of_paths = words[:, count:].reshape(len(words), count, needed)
        paths = bounce_many(of_paths, self.frames, self.size - self.box, self.speed)  # [B, n, T, 2]
        labels = self.digits.labels[pool[drawn]].astype(np.int64)
        order = np.lexsort((pool[drawn], paths[:, :, 0, 1], paths[:, :, 0, 0], labels))  # as in `records`
        drawn, labels = (np.take_along_axis(values, order, 1) for values in (drawn, labels))
        paths = np.take_along_axis(paths, order[:, :, np.newaxis, np.newaxis], 1)
        classes = self._class_numbers[tuple(labels.T)]
        centres = (np.moveaxis(paths, 1, 2) + (self.box - 1) / 2).astype(np.float32)
        return _paint(self._glyphs[drawn], paths, self.size), {"digits": classes, "trajectory": centres}

    @cached_property
    def _glyphs(self) -> NDArray[np.uint8]:
        """The images of the training split at the size of the box, `[N, box, box]`."""
        return np.stack([resize(image, self.box) for image in self.digits.images[self._pools["train"]]])

    @cached_property
    def _class_numbers(self) -> NDArray[np.int64]:
        """The class of a clip by the classes of its digits, which are sorted."""
        numbers = np.zeros((CLASSES,) * self.digits_per_clip, np.int64)
        for number, classes in enumerate(self._class_tuples):
            numbers[classes] = number
        return numbers

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


def made_like(manifest: Manifest, digits: Digits) -> MovingDigits:
    """The data set that a manifest of `prepare_smmnist` describes, whose clips can be made anew.

    Raises:
        ValueError: If the manifest is of another data set, or of other digits.
    """
    dataset, parameters = manifest.dataset, manifest.parameters
    try:
        if dataset.name != NAME:
            raise KeyError
        known, clips = parameters["digits"]["sha256"], [int(parameters["clips"][split]) for split in SPLITS]
        options = {name: int(parameters[name]) for name in ("digits_per_clip", "digit_size") if name in parameters}
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"clips of {dataset.name} cannot be made anew: only those of prepare_smmnist can") from None
    if digits.sha256 != known:
        change = f"their SHA-256 begins with {digits.sha256[:12]}, not {str(known)[:12]}"
        raise ValueError(f"they are not the digits of the stored clips: {change}")
    frames, size, *_ = dataset.features.shape
    train, val, test = clips
    return MovingDigits(digits, (train, val, test), frames=frames, size=size, **options)


def _words(seed: int, epoch: int, indices: Sequence[int], count: int) -> NDArray[np.uint64]:
    """Uniform random words `[B, count]`, a row for each record."""
    # numpy guarantees the raw stream of a bit generator across versions
    streams = (np.random.PCG64(np.random.SeedSequence((seed, epoch, index))) for index in indices)
    return np.array([stream.random_raw(count) for stream in streams], np.uint64).reshape(len(indices), count)


def _paint(glyphs: NDArray[np.uint8], paths: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    """Clips `[B, T, size, size, 1]` of glyphs `[B, n, box, box]` whose corners are at paths `[B, n, T, 2]`, added."""
    count, digits, frames, _ = paths.shape
    clips = np.zeros((count, frames, size, size), np.uint8)
    boxes = sliding_window_view(clips, glyphs.shape[2:], axis=(2, 3), writeable=True)
    records, times = np.arange(count)[:, np.newaxis], np.arange(frames)
    for digit in range(digits):
        places = records, times, paths[:, digit, :, 1], paths[:, digit, :, 0]
        under = boxes[places]
        boxes[places] = under + np.minimum(glyphs[:, digit, np.newaxis], 255 - under)
    return clips.reshape(*clips.shape, 1)


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
