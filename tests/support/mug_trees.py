"""A folder laid out as MUG, of pictures of noise."""

from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.datasets.mug_takes import EXPRESSIONS


def picture(rng: np.random.Generator, height: int = 24, width: int = 32) -> NDArray[np.uint8]:
    """Smooth enough for JPEG to keep it."""
    ramp = np.linspace(0, 100, height * width * 3).reshape(height, width, 3)
    return (ramp + rng.integers(0, 120, 3)).astype(np.uint8)


def write_take(folder: Path, pictures: Sequence[NDArray[np.uint8]]) -> Path:
    """`img_0000.jpg` and so on."""
    folder.mkdir(parents=True)
    for number, pixels in enumerate(pictures):
        (folder / f"img_{number:04d}.jpg").write_bytes(imagecodecs.jpeg_encode(pixels, level=98, subsampling="444"))
    return folder


def write_tree(root: Path, people: int = 4, frames: int = 5) -> Path:
    """Each person with one take of each expression and one of none; take k of person p has `frames + k` pictures."""
    for person in range(1, people + 1):
        rng = np.random.default_rng(person)
        for number, expression in enumerate([*EXPRESSIONS, "neutral"]):
            pictures = [picture(rng) for _ in range(frames + number)]
            write_take(root / f"{person:03d}" / expression / "take000", pictures)
    return root
