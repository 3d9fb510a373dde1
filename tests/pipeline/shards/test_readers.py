"""Other readers read our shards: plain webdataset and Hugging Face datasets."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray
from stored_records import independent_jsons

from seqviews.pipeline.datasets.digits import Digits
from seqviews.pipeline.datasets.smmnist import MovingDigits
from seqviews.pipeline.datasets.sprites import Sprites
from seqviews.pipeline.features import Codec
from seqviews.pipeline.prepare.write import prepare

Row: TypeAlias = tuple[NDArray[np.uint8], dict[str, Any]]
Reader: TypeAlias = Callable[[list[Path], Codec, Path], Iterator[tuple[str, Row]]]
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)
DIGITS = Digits("noise", IMAGES, np.arange(40, dtype=np.uint8) % 10, "none", "nobody")


def with_webdataset(tars: list[Path], codec: Codec, _: Path) -> Iterator[tuple[str, Row]]:
    import webdataset

    for row in webdataset.WebDataset(list(map(str, tars)), shardshuffle=False).decode("rgb8"):
        yield row["__key__"], (row[f"frames.{codec}"], row["json"])


def with_datasets(tars: list[Path], codec: Codec, cache: Path) -> Iterator[tuple[str, Row]]:
    import datasets

    files = list(map(str, tars))
    for row in datasets.load_dataset("webdataset", data_files=files, split="train", cache_dir=str(cache)):
        yield row["__key__"], (np.asarray(row[f"frames.{codec}"].convert("RGB")), row["json"])


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))


@pytest.mark.parametrize("reader", [with_webdataset, with_datasets])
@pytest.mark.parametrize("codec", ["webp", "png"])
def test_moving_digits(tmp_path: Path, reader: Reader, codec: Codec) -> None:
    prepare(MovingDigits(DIGITS, (7, 0, 0), 2, frames=5), tmp_path / "digits", codec=codec, shard_sources=3)
    tars = sorted((tmp_path / "digits" / "train").glob("*.tar"))
    read = dict(reader(tars, codec, tmp_path / "cache"))
    assert (len(tars), len(read)) == (3, 7)
    assert {key: about for key, (_, about) in read.items()} == independent_jsons(tars)
    for image, about in read.values():
        expected = np.zeros((5, 64, 64), np.int64)
        numbers = [int(name.removeprefix("noise-")) for name in about["source"].split("+")]
        for frame, centres in zip(expected, about["factors"]["trajectory"], strict=True):
            for number, (x, y) in zip(numbers, centres, strict=True):
                frame[int(y - 13.5) : int(y + 14.5), int(x - 13.5) : int(x + 14.5)] += IMAGES[number]
        grey = expected.clip(max=255).reshape(5 * 64, 64, 1)
        np.testing.assert_array_equal(image, grey.repeat(3, axis=2))


@pytest.mark.data
@pytest.mark.parametrize("reader", [with_webdataset, with_datasets])
def test_a_shard_of_sprites(sprites: Path, shared_data: Path, tmp_path: Path, reader: Reader) -> None:
    tars = [sprites / "val" / "val-000000.tar"]
    read = dict(reader(tars, "webp", tmp_path / "cache"))
    assert len(read) == 450
    assert {key: about for key, (_, about) in read.items()} == independent_jsons(tars)
    dataset = Sprites(shared_data / "lpc-sprites")
    for source in {about["source"] for _, about in read.values()}:
        for clip in dataset.records(source, np.random.default_rng(0)):
            image, about = read[clip.key]
            np.testing.assert_array_equal(image, clip.frames.reshape(8 * 64, 64, 3))
            assert about["factors"] == clip.factors
