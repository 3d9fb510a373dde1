"""Sprites: Liberated Pixel Cup sheets to 8-frame clips of characters [Li and Mandt, ICML 2018]."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.features import Features
from seqviews.pipeline.manifest import DatasetInfo, Split
from seqviews.pipeline.records import Clip

CELL, ROWS, COLUMNS = 64, 21, 13
PARTS = ("body", "bottomwear", "topwear", "hair")
VARIANTS = 6
ACTIONS = ("walk", "spellcard", "slash")
DIRECTIONS = ("front", "left", "right")
FIRST_CELL = {
    "walk": {"left": 118, "front": 131, "right": 144},
    "spellcard": {"left": 13, "front": 26, "right": 39},
    "slash": {"left": 169, "front": 182, "right": 195},
}
FRAME_OFFSETS = {
    "walk": (7, 0, 1, 2, 3, 4, 5, 6),
    "spellcard": (0, 1, 2, 3, 4, 5, 4, 6),
    "slash": (0, 1, 2, 3, 4, 5, 4, 0),
}
CHARACTERS = VARIANTS ** len(PARTS)
TRAIN, VAL = 900, 100


@dataclass(frozen=True, slots=True)
class Sprites:
    """1,296 characters, each in 9 motions of 8 frames, 64 x 64 RGB.

    In the published order, the first 900 characters are for training, the next 100 for validation and the last 296 for
    testing. Static factors: skin, bottom, top, hair, 6 classes each. Dynamic factors: action, direction, and motion =
    `3 * action + direction`.

    Attributes:
        sheets: The folder with `body/ bottomwear/ topwear/ hair/ shoes/`.

    Raises:
        ValueError: If a sheet is missing, cannot be read, or is not 832 x 1344 RGBA.
    """

    sheets: Path

    def __post_init__(self) -> None:
        _load_cells(self.sheets)

    @property
    def info(self) -> DatasetInfo:
        """See `Preprocessor.info`."""
        variants = [str(v) for v in range(VARIANTS)]
        return DatasetInfo(
            name="sprites",
            licence="CC-BY-SA-3.0 OR GPL-3.0-only",
            attribution="Liberated Pixel Cup contributors; data set by Li and Mandt, ICML 2018",
            features=Features((8, CELL, CELL, 3)),
            static={"skin": variants, "bottom": variants, "top": variants, "hair": variants},
            dynamic={
                "motion": [f"{action}-{direction}" for action in ACTIONS for direction in DIRECTIONS],
                "action": list(ACTIONS),
                "direction": list(DIRECTIONS),
            },
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that decides the records."""
        drawn = sha256(b"".join(cells.tobytes() for cells in _load_cells(self.sheets).values())).hexdigest()
        return {"train": TRAIN, "val": VAL, "test": CHARACTERS - TRAIN - VAL, "sheets_sha256": drawn}

    def sources(self, split: Split) -> Sequence[str]:
        """The characters of a split, in the published order."""
        order = np.random.RandomState(423).permutation(CHARACTERS)
        start, stop = {"train": (0, TRAIN), "val": (TRAIN, TRAIN + VAL), "test": (TRAIN + VAL, CHARACTERS)}[split]
        return [f"character-{index:04d}" for index in order[start:stop]]

    def records(self, source: str, rng: np.random.Generator) -> Iterator[Clip]:
        """The nine clips of a character; nothing is random."""
        index = int(source.removeprefix("character-"))
        skin, bottom, top, hair = variants = np.unravel_index(index, (VARIANTS,) * len(PARTS))
        cells = _load_cells(self.sheets)
        layers = [cells[part, int(v)] for part, v in zip(PARTS, variants, strict=True)]
        frames = composite([*layers, cells["shoes", 1]])
        for a, action in enumerate(ACTIONS):
            for d, direction in enumerate(DIRECTIONS):
                positions = [USED_CELLS.index(cell) for cell in motion_cells(action, direction)]
                factors = {"motion": 3 * a + d, "action": a, "direction": d}
                factors |= {"skin": int(skin), "bottom": int(bottom), "top": int(top), "hair": int(hair)}
                yield Clip(f"{source}-{action}-{direction}", frames[positions], factors, source)


def motion_cells(action: str, direction: str) -> list[int]:
    """The eight cells of a motion; the cells of a sheet are numbered row by row from 0."""
    return [FIRST_CELL[action][direction] + offset for offset in FRAME_OFFSETS[action]]


USED_CELLS = sorted({cell for action in ACTIONS for way in DIRECTIONS for cell in motion_cells(action, way)})


def composite(layers: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Alpha-composite RGBA layers `[..., 4]`, from the lowest to the highest, over black, rounding to nearest."""
    canvas = np.zeros((*layers[0].shape[:-1], 3), np.uint32)
    for layer in layers:
        alpha = layer[..., 3:].astype(np.uint32)
        canvas = (layer[..., :3] * alpha + canvas * (255 - alpha) + 127) // 255
    return canvas.astype(np.uint8)


@functools.cache
def _load_cells(sheets: Path) -> dict[tuple[str, int], NDArray[np.uint8]]:
    """The used cells of every used sheet, uint8 `[cells, 64, 64, 4]`, by part and variant."""
    wanted = [(part, variant) for part in PARTS for variant in range(VARIANTS)] + [("shoes", 1)]
    return {(part, variant): _read_sheet(sheets / part / f"{variant}.png") for part, variant in wanted}


def _read_sheet(path: Path) -> NDArray[np.uint8]:
    if not path.is_file():
        raise ValueError(f"no sprite sheet {path}: --sheets is the folder with body/ bottomwear/ topwear/ ...")
    try:
        sheet = imagecodecs.png_decode(path.read_bytes())
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"sprite sheet {path} is damaged: {error}") from None
    if sheet.shape != (ROWS * CELL, COLUMNS * CELL, 4) or sheet.dtype != np.uint8:
        raise ValueError(f"sprite sheet {path} is {list(sheet.shape)} {sheet.dtype}, not 1344 x 832 RGBA of 8 bits")
    grid = sheet.reshape(ROWS, CELL, COLUMNS, CELL, 4).swapaxes(1, 2).reshape(-1, CELL, CELL, 4)
    return np.ascontiguousarray(grid[USED_CELLS])
