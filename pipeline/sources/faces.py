"""The box of a face in some pictures, found by scikit-image's cascade of local binary patterns."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

MARGIN = 1.3
"""The side of what is kept of a picture, over that of the box, which reaches from the brows to the chin."""
SIDES = (256, 192)
"""Pixels of the shorter side of a picture in which a face is looked for, and then, if there is none."""
LONGEST = 8
"""The longer side of a picture in which a face is looked for, at most, over the shorter."""
CENTRE = 0.75


@dataclass(frozen=True, slots=True)
class Box:
    """A square in a picture, in pixels: its first row and column, and its side."""

    top: float
    left: float
    side: float

    def scaled(self, factor: float) -> Box:
        """The box of another size with the same centre."""
        margin = self.side * (factor - 1) / 2
        return Box(self.top - margin, self.left - margin, self.side * factor)

    def cut(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The pixels in the box `[H, W, C]`, which is moved into the picture and no larger than it."""
        side = max(1, min(round(self.side), *picture.shape[:2]))
        top, left = (
            min(max(0, round(start + (self.side - side) / 2)), length - side)
            for start, length in zip((self.top, self.left), picture.shape[:2], strict=True)
        )
        return picture[top : top + side, left : left + side]


def centre_box(height: int, width: int, share: float = CENTRE) -> Box:
    """The box in the middle of a picture, whose side is a share of the shorter side.

    >>> centre_box(80, 100)
    Box(top=10.0, left=20.0, side=60.0)
    """
    side = share * min(height, width)
    return Box((height - side) / 2, (width - side) / 2, side)


def find_face(pictures: Sequence[NDArray[np.uint8]]) -> Box | None:
    """The median of the boxes of the largest face in each of some pictures of the same size; None if there is none.

    Args:
        pictures: uint8 `[H, W, 3]` each.

    Raises:
        ImportError: If scikit-image is not installed.
    """
    for side in SIDES:
        found = [box for picture in pictures if (box := _largest_face(picture, side))]
        if found:
            return median_box(found)
    return None


def median_box(boxes: Sequence[Box]) -> Box:
    """The box with the median centre and the median side."""
    rows, columns, side = np.median([(b.top + b.side / 2, b.left + b.side / 2, b.side) for b in boxes], axis=0).tolist()
    return Box(rows - side / 2, columns - side / 2, side)


def _largest_face(picture: NDArray[np.uint8], side: int) -> Box | None:
    import torch
    from torch.nn.functional import interpolate

    if max(picture.shape[:2]) > LONGEST * min(picture.shape[:2]):
        return None  # a strip, which would be large when its shorter side is `side`
    ratio = min(picture.shape[:2]) / side
    height, width = (round(length / ratio) for length in picture.shape[:2])
    image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    small = interpolate(image, (height, width), mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
    window = {"min_size": (side // 8, side // 8), "max_size": (side, side)}
    faces = _cascade().detect_multi_scale(np.ascontiguousarray(small), scale_factor=1.2, step_ratio=1, **window)
    if not faces:
        return None
    face = max(faces, key=lambda face: (face["width"], -face["r"], -face["c"]))
    return Box(face["r"] * ratio, face["c"] * ratio, face["width"] * ratio)


@functools.cache
def _cascade() -> Any:
    try:
        data: Any = import_module("skimage.data")
        feature: Any = import_module("skimage.feature")
    except ImportError:
        raise ImportError("finding faces needs scikit-image: pip install 'seqviews[faces]', or --face centre") from None
    return feature.Cascade(data.lbp_frontal_face_cascade_filename())
