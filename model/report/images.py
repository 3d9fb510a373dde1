"""Pictures of clips: film strips in a grid, as pixels that no plotting library has resampled."""

from __future__ import annotations

import textwrap
from collections.abc import Container, Mapping, Sequence

import imagecodecs
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from seqviews.model.protocol import SequenceModel

FRAMES = 5
FRAME_PIXELS = 64
SEAM, GAP, WIDE_GAP, MARGIN = 2, 8, 24, 28
BACKGROUND = 255
LINE, LETTER = 18, 8  # pixels of a caption's line and, on average, of its letters
NARROWEST = 260

Image = NDArray[np.uint8]
"""uint8 `[H, W, 3]`."""


def film_strip(clip: Tensor, frames: int = FRAMES) -> Image:
    """Frames of a clip side by side, evenly spread from the first to the last, small ones enlarged.

    Args:
        clip: `[T, C, H, W]` in [0, 1].
        frames: How many to show, or all if there are fewer.

    Returns:
        uint8 `[k * H, frames * (k * W + SEAM) - SEAM, 3]`, k the largest whole number with `k * H` at most 64, but at
        least 1.
    """
    chosen = torch.linspace(0, len(clip) - 1, min(frames, len(clip))).round().long().to(clip.device)
    pixels = (clip[chosen].detach().cpu().float() * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    times = max(1, FRAME_PIXELS // pixels.shape[1])
    large = pixels.repeat(times, 1).repeat(times, 2)
    count, height, width, _ = large.shape
    strip = np.full((height, count, width + SEAM, 3), BACKGROUND, np.uint8)
    strip[:, :, :width] = large.swapaxes(0, 1)
    return strip.reshape(height, -1, 3)[:, :-SEAM]


def tile(
    rows: Sequence[Sequence[Image | None]], *, row_breaks: Container[int] = (), column_breaks: Container[int] = ()
) -> Image:
    """Images of one size in rows and columns on white; None leaves a place empty.

    Neighbours are `GAP` pixels apart, but `WIDE_GAP` before a row or column whose number is among the breaks; around
    them is a border of `MARGIN` pixels, where captions go.
    """
    height, width = next(image.shape[:2] for row in rows for image in row if image is not None)
    tops, total_height = _starts(len(rows), height, row_breaks)
    lefts, total_width = _starts(len(rows[0]), width, column_breaks)
    canvas = np.full((total_height, total_width, 3), BACKGROUND, np.uint8)
    for top, row in zip(tops, rows, strict=True):
        for left, image in zip(lefts, row, strict=True):
            if image is not None:
                canvas[top : top + height, left : left + width] = image
    return canvas


def _starts(count: int, size: int, breaks: Container[int]) -> tuple[list[int], int]:
    """Where each of `count` places starts along an axis, and how long the axis is."""
    starts = [MARGIN]
    for place in range(1, count):
        starts.append(starts[-1] + size + (WIDE_GAP if place in breaks else GAP))
    return starts, starts[-1] + size + MARGIN


def caption(image: Image, texts: Mapping[tuple[int, int], str]) -> Image:
    """The image with texts written on it, each from its left end and middle line at (x, y) in pixels."""
    height, width = image.shape[:2]
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    figure.figimage(image, origin="upper")
    for (x, y), text in texts.items():
        figure.text(x / width, 1 - y / height, text, va="center", fontsize=11, color="#222222")
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib has no types here
    return np.asarray(canvas.renderer.buffer_rgba())[..., :3].copy()


def captioned(cells: Sequence[Sequence[tuple[Image, str]]], *, row_breaks: Container[int] = ()) -> Image:
    """Images of one size in rows and columns, each below its caption, which is broken into lines that fit.

    Args:
        cells: Rows of images and their captions; a later row may be shorter.
        row_breaks: Numbers of the rows with more space above.
    """
    height, width = cells[0][0][0].shape[:2]
    pitch = max(width, NARROWEST) + WIDE_GAP
    texts: dict[tuple[int, int], str] = {}
    places: list[tuple[int, int, Image]] = []
    top = MARGIN // 2
    for number, row in enumerate(cells):
        lines = [textwrap.wrap(text, (pitch - WIDE_GAP) // LETTER) for _, text in row]
        top += (WIDE_GAP if number in row_breaks else 0) + LINE * max(map(len, lines))
        for column, (image, _) in enumerate(row):
            left = MARGIN + column * pitch
            places.append((top, left, image))
            for i, line in enumerate(reversed(lines[column])):
                texts[left, top - LINE * i - LINE // 2 - 2] = line
        top += height + GAP
    canvas = np.full((top - GAP + MARGIN, MARGIN - WIDE_GAP + len(cells[0]) * pitch + MARGIN, 3), BACKGROUND, np.uint8)
    for top, left, image in places:
        canvas[top : top + height, left : left + width] = image
    return caption(canvas, texts)


def views_grid(kinds: Sequence[tuple[Tensor, Sequence[str]]]) -> Image:
    """Clips in two columns, each above its views, frame above frame.

    Args:
        kinds: The clips, then their views of each kind, `[B, T, C, H, W]` in [0, 1], each with the captions of those
            that are shown, the first.
    """
    shown = len(kinds[0][1])
    cells = [
        [(film_strip(clips[i], clips.shape[1]), texts[i]) for i in range(start, min(start + 2, shown))]
        for start in range(0, shown, 2)
        for clips, texts in kinds
    ]
    return captioned(cells, row_breaks=range(len(kinds), len(cells), len(kinds)))


def png(image: Image) -> bytes:
    """The image as a PNG file."""
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(image), level=9))


def diverse(labels: Tensor, count: int, generator: torch.Generator) -> list[int]:
    """Places of up to `count` clips that differ from each other in as many factors as can be had, drawn at random.

    Each next clip is the one that is farthest, in factors that differ, from the nearest of those before.

    Args:
        labels: int64 `[N, F]`; with no factors the choice is just random.
        count: How many.
        generator: On the CPU.
    """
    order = torch.randperm(len(labels), generator=generator)
    shuffled = labels[order]
    chosen = [0]
    nearest = torch.full((len(labels),), labels.shape[1] + 1)
    while len(chosen) < min(count, len(labels)):
        nearest = torch.minimum(nearest, (shuffled != shuffled[chosen[-1]]).sum(1))
        nearest[chosen] = -1
        chosen.append(int(nearest.argmax()))
    return order[chosen].tolist()


@torch.inference_mode()
def swap_grid(model: SequenceModel, s: Tensor, z: Tensor, content: Tensor, motion: Tensor) -> Image:
    """Every static latent with every dynamic one: a column for each `s`, a row for each `z` [P figure 3].

    The top row shows the real clips that the columns' `s` is from, the left column those that the rows' `z` is from.

    Args:
        model: Decodes.
        s: `[columns, S]`.
        z: `[rows, T, D]`.
        content: The real clips of `s`, `[columns, T, C, H, W]` in [0, 1].
        motion: The real clips of `z`, `[rows, T, C, H, W]`.
    """
    rows: list[list[Image | None]] = [[None, *map(film_strip, content)]]
    for real, trajectory in zip(motion, z, strict=True):
        decoded = model.decode(s, trajectory.expand(len(s), -1, -1))
        rows.append([film_strip(real), *map(film_strip, decoded)])
    image = tile(rows, row_breaks={1}, column_breaks={1})
    first = film_strip(content[0]).shape
    left = MARGIN + first[1] + WIDE_GAP
    return caption(
        image,
        {
            (left, MARGIN // 2): "real clips that the column's s (who) is taken from",
            (MARGIN, MARGIN + first[0] // 2): "inside: s of the column, z of the row",
            (MARGIN, MARGIN + first[0] + WIDE_GAP // 2): "real clips that the row's z (motion) is taken from",
        },
    )


@torch.inference_mode()
def sample_grid(model: SequenceModel, s: Tensor, z: Tensor, real: Tensor, generator: torch.Generator) -> Image:
    """One factor kept, the other drawn: a row for each clip [P figures 8, 11].

    The columns are the real clip, then its `z` with the first and the second draw of `s`, then its `s` with the first
    and the second draw of `z`; the draws are the same in every row.

    Args:
        model: Draws and decodes.
        s: `[N, S]`, of the real clips.
        z: `[N, T, D]`, likewise.
        real: The clips themselves, `[N, T, C, H, W]` in [0, 1].
        generator: Of the draws, on the model's device.
    """
    drawn_s, drawn_z = model.sample_static(2, generator), model.sample_dynamic(2, z.shape[1], generator)
    rows: list[list[Image | None]] = []
    for clip, static, dynamic in zip(real, s, z, strict=True):
        decoded = model.decode(
            torch.cat([drawn_s, static.expand(2, -1)]), torch.cat([dynamic.expand(2, -1, -1), drawn_z])
        )
        rows.append([*map(film_strip, [clip, *decoded])])
    breaks = {1, 3}
    lefts, _ = _starts(5, film_strip(real[0]).shape[1], breaks)
    titles = {0: "real clip", 1: "its z (motion), s drawn from the prior", 3: "its s (who), z drawn from the prior"}
    image = tile(rows, column_breaks=breaks)
    return caption(image, {(lefts[place], MARGIN // 2): text for place, text in titles.items()})
