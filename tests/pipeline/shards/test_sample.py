"""decode_sample in the pipelines of other readers gives what the stream gives."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from toy_clips import ToyClips
from toy_lengths import clip_features, segment_features, write

from seqviews.pipeline import SequenceStream, decode_sample
from seqviews.pipeline.features import Features
from seqviews.pipeline.manifest import load_manifest
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.records import Clip, ShardError
from seqviews.pipeline.shards.codec import encode_record
from seqviews.pipeline.shards.images import encode_image

FRAMES = np.zeros((1, 16, 16, 3), np.uint8)
Decode: TypeAlias = Callable[[Any], dict[str, Any]]
Reader: TypeAlias = Callable[[list[str], Decode, Path], Iterator[dict[str, Any]]]


def with_webdataset(urls: list[str], decode: Decode, _: Path) -> Iterator[dict[str, Any]]:
    import webdataset as wds

    yield from wds.WebDataset(urls, shardshuffle=False).map(decode)


def with_a_pipeline(urls: list[str], decode: Decode, _: Path) -> Iterator[dict[str, Any]]:
    import webdataset as wds

    yield from wds.DataPipeline(
        wds.SimpleShardList(urls), wds.split_by_worker, wds.tarfile_to_samples(), wds.shuffle(100), wds.map(decode)
    )


def with_datasets(urls: list[str], decode: Decode, cache: Path) -> Iterator[dict[str, Any]]:
    datasets = pytest.importorskip("datasets")
    options = {"split": "train", "streaming": True, "cache_dir": str(cache)}
    yield from datasets.load_dataset("webdataset", data_files=urls, **options).decode(False).map(decode)


@pytest.fixture(scope="module")
def data(toy: Path, speech: Path, few_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("sample")
    for codec in ("png", "npy"):
        prepare(ToyClips((4, 0, 0), codec=codec), out / codec)
    write(out / "pages", clip_features(codec="jpeg", page_frames=8), ["a", "b", "c"])
    write(out / "lengths", segment_features(), ["a", "b", "c"])
    names = ("png", "npy", "pages", "lengths")
    return {"webp": toy, "grey webp": few_digits, "speech": speech, **{name: out / name for name in names}}


NAMES = ("webp", "grey webp", "png", "npy", "speech", "pages", "lengths")
READERS = (with_webdataset, with_a_pipeline, with_datasets)
PAIRS = [(name, reader) for name in NAMES for reader in READERS]
PAIRS.remove(("pages", with_datasets))  # datasets rejects samples of different numbers of members


@pytest.mark.parametrize(("name", "reader"), PAIRS)
def test_it_equals_the_stream(
    data: dict[str, Path], name: str, reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    split = data[name] / "train"
    manifest = load_manifest(split)
    decode = partial(decode_sample, features=manifest.dataset.features)
    read = {record["key"]: record for record in reader([str(p) for p in sorted(split.glob("*.tar"))], decode, tmp_path)}
    assert len(read) == len(manifest)
    for batch in SequenceStream(split, 5, factors=[f for f, classes in manifest.factors.items() if classes]):
        for i, key in enumerate(batch.keys):
            x = batch.x[i] if batch.lengths is None else batch.x[i, : batch.lengths[i]]
            assert read[key]["x"].dtype == x.dtype
            assert (read[key]["x"] == x).all()
            assert {f: read[key]["factors"][f] for f in batch.factors} == {
                f: int(v[i]) for f, v in batch.factors.items()
            }
            if batch.converted is not None:
                assert (read[key]["converted"] == batch.converted[i][:, : len(x)]).all()


def test_pages_are_read_in_order_or_not_at_all() -> None:
    """Past the thousandth page, names have four digits; a shorter record has None in the columns that it lacks."""
    features = Features((1003, 2, 2, 3), codec="npy", page_frames=1)
    frames = np.random.default_rng(0).integers(0, 256, features.shape, dtype=np.uint8)
    members = encode_record(Clip("a", frames, {}, "a"), features)
    sample = {"__key__": "a", **dict(reversed(members.items()))}
    for known in (features, None):
        read = decode_sample({**sample, "frames-1003.npy": None}, known)["x"].permute(0, 2, 3, 1)
        np.testing.assert_array_equal(read.numpy(), frames)
        with pytest.raises(ShardError, match=r"sample a: its frames are in frames-000\.npy, .*, not in"):
            decode_sample({**sample, "frames-007.npy": None}, known)


def test_with_features_a_record_that_lacks_its_last_page_is_not_taken_for_lower_frames() -> None:
    features = Features((32, 16, 16, 3), codec="png", page_frames=8)
    members = encode_record(Clip("a", np.zeros(features.shape, np.uint8), {}, "a"), features)
    for lacking in ({"frames-003.png": None}, {"frames-002.png": None, "frames-003.png": None}):
        with pytest.raises(ShardError, match=r"its frames are in frames-000\.png, .*, not in frames-000\.png, "):
            decode_sample({"__key__": "a", **members, **lacking}, features)
    with pytest.raises(ShardError, match=r"its frames are \[16, 16, 3\], not \[16, 16, 1\]"):
        decode_sample({"__key__": "a", **members}, replace(features, shape=(32, 16, 16, 1)))


def test_without_features_grey_has_three_channels(few_digits: Path) -> None:
    urls = [str(path) for path in (few_digits / "val").glob("*.tar")]
    for record in with_webdataset(urls, decode_sample, Path()):
        assert record["x"].shape == (4, 3, 16, 16)
        assert (record["x"] == record["x"][:, :1]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"json": None}, "is decoded already, to NoneType: leave out decode"),
        ({"json": b"{"}, "sample a: "),
        ({"frames.webp": b"no image"}, "sample a: "),
        ({"frames.webp": "text"}, "is decoded already, to str"),
        ({"frames.webp": None, "frames.npy": b"\x80\x04N."}, "sample a: "),
        ({"frames.webp": None}, "sample a: has no frames"),
        ({"frames-001.webp": b"", "frames.webp": None}, "in frames-001.webp, not in frames-000.webp"),
        ({"frames.gif": b"", "frames.webp": None}, "frames.gif is none of webp, png, jpg, npy"),
        ({"json": {"frames": 0}, "frames.webp": encode_image(FRAMES, "webp", None)}, "has 1 frames, its JSON says 0"),
        ({"json": {"frames": 3}, "frames.webp": encode_image(FRAMES, "webp", None)}, "not whole frames"),
        ({"json": {"frames": 1e999}}, "frames is inf, not an integer"),
        ({"json": b'{"frames": 2, "factors": []}'}, "its factors are no object"),
        ({"frames.webp": None, "frames.npy": b"\x93NUMPY\1\0\xff\0" + b"(" * 255}, "not a version 1.0 .npy"),
    ],
)
def test_what_cannot_be_decoded(change: dict[str, Any], message: str) -> None:
    sample = {"__key__": "a", "json": b'{"frames": 2}', "frames.webp": b"", **change}
    with pytest.raises(ShardError, match=message):
        decode_sample(sample)
    with pytest.raises(ShardError, match="sample a: has no 'json'"):
        decode_sample({"__key__": "a"})
