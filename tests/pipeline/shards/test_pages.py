"""Records in pages: what is in the tars, who else reads them, and that pages and lengths that lie are found."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from PIL import Image
from stored_records import claim, entry_of, members
from tar_mutations import tar_of
from toy_clips import digests
from toy_lengths import LENGTHS, ToyLengths, clip_features, segment_features, whole_records, write

from seqviews.pipeline.features import Features
from seqviews.pipeline.manifest import load_manifest
from seqviews.pipeline.prepare.write import write_shards
from seqviews.pipeline.records import Clip, ShardError
from seqviews.pipeline.shards.check import check_dataset
from seqviews.pipeline.shards.codec import _encode_frames
from seqviews.pipeline.stream.excerpt import Excerpt
from seqviews.pipeline.stream.stream import SequenceStream

SOURCES = ["a", "b", "c"]
JPEG = clip_features(codec="jpeg", quality=95, page_frames=8)
Members: TypeAlias = list[tuple[str, bytes]]


@pytest.mark.parametrize(
    "features",
    [JPEG, clip_features(), clip_features(codec="png", page_frames=8), clip_features(quality=98, page_frames=8)],
)
def test_pages_hold_the_frames_and_anyone_reads_them(tmp_path: Path, features: Features) -> None:
    split = write(tmp_path / "toy", features, SOURCES)
    manifest, size = load_manifest(split), features.page_frames
    assert (manifest.dataset.features, manifest.schema_version, size in (8, 16)) == (features, 2, True)
    whole, found = whole_records(features, SOURCES), dict(members(*split.glob("*.tar")))
    suffix = "jpg" if features.codec == "jpeg" else features.codec
    ours = {k: x for b in SequenceStream(split, 4) for k, x in zip(b.keys, b.x.permute(0, 1, 3, 4, 2), strict=True)}
    for key, clip in whole.items():
        assert isinstance(clip, Clip)
        length = len(clip.frames)
        assert json.loads(found[f"{key}.json"])["frames"] == length
        names = [f"{key}.frames-{page:03d}.{suffix}" for page in range(-(-length // (size or 1)))]
        pages = [np.asarray(Image.open(io.BytesIO(found.pop(name)))) for name in names]
        assert [page.shape for page in pages[:-1]] == [(16 * (size or 1), 16, 3)] * (len(pages) - 1)
        np.testing.assert_array_equal(ours[key][:length].numpy(), np.concatenate(pages).reshape(length, 16, 16, 3))
        error = np.abs(ours[key][:length].numpy().astype(int) - clip.frames)
        assert error.max() == 0 if features.quality is None else error.mean() < 4
    assert all(name.endswith(".json") for name in found)
    assert check_dataset(split)["train"].problems == []


def test_the_bytes_do_not_depend_on_the_workers(tmp_path: Path) -> None:
    toy = ToyLengths(JPEG)
    for workers in (1, 2):
        write_shards(
            {"train": SOURCES}, tmp_path / str(workers), toy.records, toy.info, shard_sources=1, workers=workers
        )
    assert digests(tmp_path / "1") == digests(tmp_path / "2")


def with_frames(frames: int) -> Callable[[Members], Members]:
    """The JSON of the last record of the tar, of 30 frames in four pages, states another length."""
    return lambda found: [
        *found[:-1],
        (found[-1][0], json.dumps({**json.loads(found[-1][1]), "frames": frames}).encode()),
    ]


def with_page(number: int, frames: int, height: int = 16) -> Callable[[Members], Members]:
    """A page of that record has frames of another number or size."""
    data = _encode_frames(np.zeros((frames, height, 16, 3), np.uint8), JPEG)
    return lambda found: [*found[: number - 5], (found[number - 5][0], data), *found[number - 5 + 1 :]]


LIES: dict[str, tuple[Callable[[Members], Members], str]] = {
    "page missing": (
        lambda found: [*found[:-3], *found[-2:]],
        "has no b-5.frames-002.jpg or .json after its frames-001",
    ),
    "last page missing": (lambda found: [*found[:-2], found[-1]], "frames is 30, which is not what its pages hold"),
    "first page missing": (lambda found: [*found[:-5], *found[-4:]], "is not <key>.frames-000.jpg"),
    "page twice": (lambda found: [*found[:-2], *found[-3:]], "has no b-5.frames-003.jpg or .json after"),
    "page too many": (
        lambda f: [*f[:-1], (f[-2][0].replace("3.j", "4.j"), f[-2][1]), f[-1]],
        "has no b-5.json after its",
    ),
    "no json": (lambda found: found[:-1], "has no b-5.json after its frames-003.jpg"),
    "page too short": (
        with_page(1, 7),
        "b-5.frames-001.jpg: an image of [112, 16, 3] rows, columns and channels, not",
    ),
    "page too long": (
        with_page(3, 8),
        "b-5.frames-003.jpg: an image of [128, 16, 3] rows, columns and channels, not",
    ),
    "frames of another size": (with_page(0, 8, 8), "b-5.frames-000.jpg: an image of [64, 16, 3] rows"),
    "fewer than its last page": (with_frames(29), "b-5.frames-003.jpg: an image of [96, 16, 3] rows"),
    "fewer by a page": (with_frames(24), "frames is 24, which is not what its pages hold"),
    "more": (with_frames(31), "frames is 31, the manifest says 5 to 30"),
    "fewer than the least": (with_frames(4), "frames is 4, the manifest says 5 to 30"),
    "no number": (with_frames(30.0), "b-5.json: no frames"),  # type: ignore[arg-type]  # a lie
    "true": (with_frames(True), "b-5.json: no frames"),
}


@pytest.mark.parametrize("name", LIES)
def test_pages_and_lengths_that_lie_are_found(tmp_path: Path, name: str) -> None:
    split, (change, message) = write(tmp_path / "toy", JPEG, ["b"]), LIES[name]
    (entry,) = load_manifest(split).shards
    path = split / entry.name
    path.write_bytes(tar_of(change(members(path))))
    claim(split, entry_of(path, 6))
    (problem,) = check_dataset(split)["train"].problems
    assert entry.name in problem
    assert message in problem
    with pytest.raises(ShardError) as caught:
        list(SequenceStream(split, 4))
    assert message in str(caught.value)


def test_an_excerpt_is_never_read_from_pages_that_lie(tmp_path: Path) -> None:
    """A length that the pages contradict raises an error even if the excerpt does not touch the last page."""
    split = write(tmp_path / "toy", JPEG, ["b"])
    (entry,) = load_manifest(split).shards
    path = split / entry.name
    path.write_bytes(tar_of(with_frames(20)(members(path))))
    claim(split, entry_of(path, 6))
    with pytest.raises(ShardError, match="frames is 20, which is not what its pages hold"):
        list(SequenceStream(split, 6, excerpt=Excerpt(2, place="first")))


def test_segments_that_state_another_length(tmp_path: Path) -> None:
    split = write(tmp_path / "toy", segment_features(), ["b"])
    (entry,) = load_manifest(split).shards
    path = split / entry.name
    path.write_bytes(tar_of(with_frames(20)(members(path))))
    claim(split, entry_of(path, 6))
    (problem,) = check_dataset(split)["train"].problems
    assert "b-5.mel.npy: not a version 1.0 .npy array, or not float32 [20, 80]" in problem


def test_records_outside_the_lengths_of_the_data_set_are_not_written(tmp_path: Path) -> None:
    for shape, least in (((29, 16, 16, 3), 5), ((30, 16, 16, 3), 6)):
        with pytest.raises(
            ValueError, match=rf"frames are \[(5|30), 16, 16, 3\], not .* or of at least {least} frames"
        ):
            write(tmp_path / str(least), Features(shape, rate=25.0, min_frames=least).stored(), SOURCES)


def rows(reader: str, tars: list[str], cache: Path) -> list[dict[str, Any]]:
    if reader == "webdataset":
        import webdataset

        return list(webdataset.WebDataset(tars, shardshuffle=False).decode("rgb8"))
    import datasets

    number, text = datasets.Value("int64"), datasets.Value("string")
    factors = {"kind": number, "time": datasets.List(number)}
    about = {"key": text, "source": text, "frames": number, "rate": datasets.Value("float64"), "factors": factors}
    pages = {f"frames-{page:03d}.jpg": datasets.Image() for page in range(4)}  # else it wants the same of every record
    known = datasets.Features({"__key__": text, "__url__": text, **pages, "json": about})
    options = {"data_files": tars, "split": "train", "cache_dir": str(cache), "features": known}
    return list(datasets.load_dataset("webdataset", **options))


@pytest.mark.parametrize("reader", ["webdataset", "datasets"])
def test_other_readers_get_every_page(tmp_path: Path, reader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    split = write(tmp_path / "toy", JPEG, SOURCES)
    ours = {k: x for b in SequenceStream(split, 4) for k, x in zip(b.keys, b.x.permute(0, 1, 3, 4, 2), strict=True)}
    found = rows(reader, sorted(map(str, split.glob("*.tar"))), tmp_path / "cache")
    assert sorted(row["__key__"] for row in found) == sorted(ours)
    for row in found:
        length = row["json"]["frames"]
        pages = [row[f"frames-{page:03d}.jpg"] for page in range(-(-length // 8))]
        stacked = np.concatenate([np.asarray(page) for page in pages]).reshape(length, 16, 16, 3)
        np.testing.assert_array_equal(ours[row["__key__"]][:length].numpy(), stacked)
    assert {row["json"]["frames"] for row in found} == set(LENGTHS)
