"""Sprites compared with a composition by Pillow and the published description of the data set."""

import collections
import io
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from stored_records import encoded_clips
from toy_clips import digests

from seqviews.pipeline.datasets.sprites import Sprites
from seqviews.pipeline.manifest import SPLITS, Split, load_manifest
from seqviews.pipeline.prepare.write import prepare

Records: TypeAlias = dict[str, dict[str, tuple[bytes, dict[str, Any]]]]

# The published layout of the sheets: first and last cell of each action and direction, then the eight frames.
CELLS = {
    "spellcard": {"left": (13, 19), "front": (26, 32), "right": (39, 45)},
    "walk": {"left": (118, 125), "front": (131, 138), "right": (144, 151)},
    "slash": {"left": (169, 174), "front": (182, 187), "right": (195, 200)},
}
FRAMES = {"spellcard": "0 1 2 3 4 5 4 6", "walk": "7 0 1 2 3 4 5 6", "slash": "0 1 2 3 4 5 4 0"}
ACTIONS, DIRECTIONS = ("walk", "spellcard", "slash"), ("front", "left", "right")
MOTIONS = [(action, direction) for action in ACTIONS for direction in DIRECTIONS]
ORDER = np.random.RandomState(423).permutation(1296)
CHARACTERS: dict[Split, NDArray[np.int64]] = {"train": ORDER[:900], "val": ORDER[900:1000], "test": ORDER[1000:]}


pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def records(sprites: Path) -> Records:
    return {split: encoded_clips(sprites / split) for split in SPLITS}


def compose(sheets: Path, index: int) -> Image.Image:
    """A character's whole sheet: body, bottomwear, topwear, hair and the shoes over opaque black."""
    variants = (index // 216, index // 36 % 6, index // 6 % 6, index % 6, 1)
    layers = dict(zip(("body", "bottomwear", "topwear", "hair", "shoes"), variants, strict=True))
    canvas = Image.new("RGBA", (832, 1344), (0, 0, 0, 255))
    for part, variant in layers.items():
        canvas = Image.alpha_composite(canvas, Image.open(sheets / part / f"{variant}.png").convert("RGBA"))
    return canvas.convert("RGB")


def crop(sheet: Image.Image, action: str, direction: str) -> NDArray[np.uint8]:
    first, last = CELLS[action][direction]
    frames = []
    for offset in map(int, FRAMES[action].split()):
        assert first + offset <= last
        row, column = divmod(first + offset, 13)
        frames.append(np.asarray(sheet.crop((64 * column, 64 * row, 64 * column + 64, 64 * row + 64))))
    return np.concatenate(frames)


@pytest.mark.parametrize("split", SPLITS)
def test_clips_are_pixel_exact(records: Records, shared_data: Path, split: Split) -> None:
    characters = CHARACTERS[split]
    for index in characters[np.linspace(0, len(characters) - 1, 8).astype(int)].tolist():
        sheet = compose(shared_data / "lpc-sprites", index)
        parts = {"skin": index // 216, "bottom": index // 36 % 6, "top": index // 6 % 6, "hair": index % 6}
        for motion, (action, direction) in enumerate(MOTIONS):
            frames, facts = records[split][f"character-{index:04d}-{action}-{direction}"]
            image = Image.open(io.BytesIO(frames))
            assert (image.format, image.mode, image.size) == ("WEBP", "RGB", (64, 512))
            np.testing.assert_array_equal(np.asarray(image), crop(sheet, action, direction))
            assert facts["source"] == f"character-{index:04d}"
            assert facts["factors"] == {"motion": motion, "action": motion // 3, "direction": motion % 3, **parts}


def test_every_character_is_in_one_split_with_nine_motions(records: Records, sprites: Path, shared_data: Path) -> None:
    dataset = Sprites(shared_data / "lpc-sprites")
    size = 0
    for split, characters in CHARACTERS.items():
        published = [f"character-{index:04d}" for index in characters]
        assert dataset.sources(split) == published
        clips = collections.Counter(facts["source"] for _, facts in records[split].values())
        assert clips == dict.fromkeys(published, 9)
        manifest = load_manifest(sprites / split)
        names = {shard.name for shard in manifest.shards}
        assert {path.name for path in (sprites / split).iterdir()} == {"manifest.json"} | names
        assert len(manifest) == len(records[split]) == {"train": 8100, "val": 900, "test": 2664}[split]
        assert manifest.dataset.features.shape == (8, 64, 64, 3)
        assert manifest.factors["motion"] == [f"{action}-{direction}" for action, direction in MOTIONS]
        size += sum(shard.bytes for shard in manifest.shards)
    assert size <= 42_000_000
    assert len({key for clips in records.values() for key in clips}) == 1296 * 9


def test_factors_are_balanced_over_all_characters_and_clips_look_different(records: Records) -> None:
    counts: dict[str, collections.Counter[int]] = collections.defaultdict(collections.Counter)
    for clips in records.values():
        for _, facts in clips.values():
            assert (facts["frames"], facts["rate"]) == (8, None)
            for name, label in facts["factors"].items():
                counts[name][label] += 1
    assert counts == {
        "motion": dict.fromkeys(range(9), 1296),
        "action": dict.fromkeys(range(3), 3888),
        "direction": dict.fromkeys(range(3), 3888),
        **{part: dict.fromkeys(range(6), 1944) for part in ("skin", "bottom", "top", "hair")},
    }
    assert len({frames for frames, _ in records["train"].values()}) == len(records["train"])


@pytest.mark.slow
def test_all_shards_are_the_same_for_one_worker(shared_data: Path, sprites: Path, tmp_path: Path) -> None:
    prepare(Sprites(shared_data / "lpc-sprites"), tmp_path / "sprites", workers=1)
    assert digests(tmp_path / "sprites") == digests(sprites)
