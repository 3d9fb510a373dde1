"""Images of clips: film strips and animations in a grid, as pixels that no plotting library has resampled."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TypeAlias

import imagecodecs
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

FRAMES, FRAME_PIXELS = 8, 64  # of a film strip
MOVING_PIXELS = 128
RATE = 8.0  # frames per second, where the data set gives none
SEAM, GAP, WIDE_GAP, MARGIN = 2, 8, 24, 28
BACKGROUND = 255
LINE, LETTER = 18, 8  # pixels of a line of text and, on average, of a letter
NARROWEST = 260  # pixels of a column with captions

Image: TypeAlias = NDArray[np.uint8]
"""uint8 `[H, W, 3]`."""
Frames: TypeAlias = NDArray[np.uint8]
"""uint8 `[T, H, W, 3]`."""


def png(image: Image) -> bytes:
    """The image as a PNG file."""
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(image), level=9))


def to_frames(clip: Tensor) -> Frames:
    """A clip `[T, C, H, W]` in [0, 1], of one channel or three, as uint8 `[T, H, W, 3]`."""
    pixels = (clip.detach().cpu().float() * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
    return pixels.expand(*pixels.shape[:3], 3).numpy()


def film_strip(frames: Frames, count: int = FRAMES) -> Image:
    """Frames side by side, evenly spread from the first to the last, small ones enlarged.

    Args:
        frames: uint8 `[T, H, W, 3]`.
        count: How many to show, or all if there are fewer.

    Returns:
        uint8 `[k * H, count * (k * W + SEAM) - SEAM, 3]`, k the greatest whole number with `k * H` at most
        `FRAME_PIXELS`, but at least 1.
    """
    raise NotImplementedError


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """A clip or a still in a grid.

    Attributes:
        frames: uint8 `[T, H, W, 3]`; T = 1 is a still.
        caption: Above it; none if empty.
    """

    frames: Frames
    caption: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Clips or stills of one frame size in rows and columns, drawn as film strips or as an animation.

    Attributes:
        rows: Of each the cells from the left; None leaves a place empty.
        row_breaks: Rows with more space above.
        column_breaks: Columns with more space to their left.
        legends: Texts by (row, column) of the cell that they are set above, or inside if that is empty. A legend may
            span all columns up to the next one.
        rate: Frames per second; `RATE` if None.
        strip: Frames of a film strip.
    """

    rows: Sequence[Sequence[Cell | None]]
    row_breaks: AbstractSet[int] = frozenset()
    column_breaks: AbstractSet[int] = frozenset()
    legends: Mapping[tuple[int, int], str] = field(default_factory=dict)
    rate: float | None = None
    strip: int = FRAMES

    def still(self) -> Image:
        """Every clip as a film strip, uint8 `[H, W, 3]`."""
        raise NotImplementedError

    def moving(self) -> bytes | None:
        """An animated PNG that shows frame t of every clip at a time and loops; None if all cells are stills.

        A clip that is shorter than others waits at its last frame.
        """
        raise NotImplementedError
