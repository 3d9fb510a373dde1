"""Images of clips: film strips and animations in a grid, as pixels that no plotting library has resampled."""

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import imagecodecs
import numpy as np
import PIL.Image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

STRIP_FRAMES = 8
STRIP_PIXELS, MOVING_PIXELS = 64, 128  # height that frames are enlarged to, at most
RATE = 8.0  # frames per second, where the data set gives none
QUALITY = 90  # of moving images
FILTER = imagecodecs.PNG.FILTER.NONE  # enlarged frames are smaller without prediction
SEAM, GAP, WIDE_GAP, MARGIN = 2, 8, 24, 28
BACKGROUND = 255
LINE, LETTER = 18, 8  # pixels of a line of text and, on average, of a letter
NARROWEST = 272  # pixels of a column with captions

Image: TypeAlias = NDArray[np.uint8]  # [H, W, 3]
Frames: TypeAlias = NDArray[np.uint8]  # [T, H, W, 3]
Texts: TypeAlias = dict[tuple[int, int], str]  # lines by the (x, y) of their left middle, in pixels


def png(image: Image) -> bytes:
    """The image as a PNG file."""
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(image), level=9, filter=FILTER))


def rasterise(figure: Figure) -> Image:
    """A figure of matplotlib as pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib has no types here
    pixels: Any = canvas.renderer.buffer_rgba()
    return np.asarray(pixels)[..., :3].copy()


def to_frames(clip: Tensor) -> Frames:
    """A clip `[T, C, H, W]` in [0, 1], of one channel or three, as uint8 `[T, H, W, 3]`."""
    pixels = (clip.detach().cpu().float() * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
    return pixels.expand(*pixels.shape[:3], 3).numpy()


def film_strip(frames: Frames, count: int = STRIP_FRAMES) -> Image:
    """Up to `count` frames side by side, evenly spread from the first to the last, small ones enlarged.

    Returns:
        uint8 `[k * H, count * (k * W + SEAM) - SEAM, 3]`, k the greatest whole number with `k * H` at most
        `STRIP_PIXELS`, but at least 1.
    """
    shown = frames[np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)]
    large = _enlarge(shown, STRIP_PIXELS)
    count, height, width, _ = large.shape
    strip = np.full((height, count, width + SEAM, 3), BACKGROUND, np.uint8)
    strip[:, :, :width] = large.swapaxes(0, 1)
    return strip.reshape(height, -1, 3)[:, :-SEAM]


def _enlarge(frames: Frames, pixels: int) -> Frames:
    """Nearest neighbours, by the greatest whole number that keeps the height at most `pixels`."""
    times = max(1, pixels // frames.shape[1])
    return frames.repeat(times, 1).repeat(times, 2)


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """A clip or, of one frame, a still in a grid, below its caption; none if empty."""

    frames: Frames
    caption: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Clips or stills in rows and columns, drawn as film strips or as an animation.

    Attributes:
        rows: The cells of each row from the left; None leaves a place empty, and later rows may be shorter.
        row_breaks: Rows with more space above.
        column_breaks: Columns with more space to their left.
        legends: Texts by (row, column) of the cell that they are above, or inside if that place is empty. A legend
            above a cell has room up to the next one.
        rate: Frames per second; `RATE` if None.
        strip_frames: Frames of a film strip.

    Example:
        >>> clip = np.zeros((6, 32, 32, 3), np.uint8)
        >>> Grid([[Cell(clip, "a caption"), Cell(clip)]]).still().shape
        (124, 852, 3)
    """

    rows: Sequence[Sequence[Cell | None]]
    row_breaks: AbstractSet[int] = frozenset()
    column_breaks: AbstractSet[int] = frozenset()
    legends: Mapping[tuple[int, int], str] = field(default_factory=dict)
    rate: float | None = None
    strip_frames: int = STRIP_FRAMES

    def still(self) -> Image:
        """Every clip as a film strip, uint8 `[H, W, 3]`."""
        cells = {place: film_strip(cell.frames, self.strip_frames)[None] for place, cell in self._cells()}
        image: Image = self._compose(cells)[0]
        return image

    def moving(self) -> bytes | None:
        """An animated WebP that shows frame t of every clip at a time and loops; None if all cells are stills.

        It is lossy: without loss, the noise in what a method decodes takes several times the space.

        A shorter clip waits at its last frame.
        """
        cells = {place: _enlarge(cell.frames, MOVING_PIXELS) for place, cell in self._cells()}
        if all(len(frames) == 1 for frames in cells.values()):
            return None
        first, *others = map(PIL.Image.fromarray, self._compose(cells))
        file, delay = io.BytesIO(), round(1000 / (self.rate or RATE))
        first.save(file, "WEBP", save_all=True, append_images=others, duration=delay, loop=0, quality=QUALITY)
        return file.getvalue()

    def _cells(self) -> Iterator[tuple[tuple[int, int], Cell]]:
        for r, row in enumerate(self.rows):
            yield from (((r, c), cell) for c, cell in enumerate(row) if cell is not None)

    def _compose(self, cells: Mapping[tuple[int, int], Frames]) -> Frames:
        """The frames of all cells, each at its place, and the texts."""
        height, width = np.max([frames.shape[1:3] for frames in cells.values()], axis=0).tolist()
        tops, lefts, size, texts = self._layout(height, width)
        background = _write(np.full((*size, 3), BACKGROUND, np.uint8), texts)
        length = max(map(len, cells.values()))
        canvas = np.repeat(background[None], length, axis=0)
        for (r, c), frames in cells.items():
            times = np.arange(length).clip(max=len(frames) - 1)
            canvas[:, tops[r] : tops[r] + frames.shape[1], lefts[c] : lefts[c] + frames.shape[2]] = frames[times]
        return canvas

    def _layout(self, height: int, width: int) -> tuple[list[int], list[int], tuple[int, int], Texts]:
        """Where rows and columns start, the size of the whole, and the lines of text."""
        pitch = max(width, NARROWEST) if any(cell.caption for _, cell in self._cells()) else width
        lefts = [MARGIN]
        for c in range(1, max(map(len, self.rows))):
            lefts.append(lefts[-1] + pitch + (WIDE_GAP if c in self.column_breaks else GAP))
        right = lefts[-1] + pitch
        tops: list[int] = []
        texts: Texts = {}
        bottom = MARGIN // 2 - GAP
        for r in range(len(self.rows)):
            above, inside = self._row_texts(r, [*lefts, right + GAP], pitch)
            room = LINE * max(map(len, above.values()), default=0)
            tops.append(bottom + GAP + (WIDE_GAP if r in self.row_breaks else 0) + room)
            bottom = tops[r] + height
            middles = {c: tops[r] - 2 - LINE * len(lines) + LINE // 2 for c, lines in above.items()}
            middles |= {c: tops[r] + (height - LINE * (len(lines) - 1)) // 2 for c, lines in inside.items()}
            for c, lines in (above | inside).items():
                texts |= {(lefts[c], middles[c] + LINE * i): line for i, line in enumerate(lines)}
        return tops, lefts, (bottom + MARGIN, right + MARGIN), texts

    def _row_texts(self, r: int, lefts: Sequence[int], pitch: int) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
        """Lines of text above the cells of a row, and inside its empty places, by column."""
        above, inside = {}, {}
        ends = sorted([c for row, c in self.legends if row == r] + [len(lefts) - 1])
        for c, cell in enumerate(self.rows[r]):
            if legend := self.legends.get((r, c)):
                if cell is None:
                    inside[c] = _wrap(legend, pitch)
                else:
                    above[c] = _wrap(legend, lefts[ends[ends.index(c) + 1]] - GAP - lefts[c])
            elif cell is not None and cell.caption:
                above[c] = _wrap(cell.caption, pitch)
        return above, inside


def _wrap(text: str, pixels: int) -> list[str]:
    return textwrap.wrap(text, max(1, pixels // LETTER))


def _write(image: Image, texts: Texts) -> Image:
    """The image with texts on it."""
    height, width = image.shape[:2]
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    figure.figimage(image, origin="upper")
    for (x, y), text in texts.items():  # text from a data set may hold dollar signs, which are no formulas
        figure.text(x / width, 1 - y / height, text, va="center", fontsize=11, color="#222222", parse_math=False)
    return rasterise(figure)
