"""Segments through shards and stream: the values come back exactly, and what is no segment is refused by name."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seqviews.pipeline.manifest import DatasetInfo, Features, Manifest, MelFeatures, ShardEntry, Split, load_manifest
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.records import Clip, Record, Segment, ShardError
from seqviews.pipeline.shards.reader import ShardReader
from seqviews.pipeline.shards.shard import Shard, pack_shard
from seqviews.pipeline.storage.local import LocalFolder
from seqviews.pipeline.stream.stream import SequenceStream

MEL = MelFeatures(mean=tuple(np.linspace(-9, -5, 80).tolist()), std=(2.0,) * 80, voices=4)
FEATURES = Features.for_segments(20, MEL)
SPEAKERS = ["anna", "ben", "carl", "dora"]


@dataclass(frozen=True)
class ToyUtterances:
    """Random utterances of five segments; the speakers of train, val and test are different ones."""

    features: Features = FEATURES

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo("utterances", "CC0-1.0", "nobody", self.features, {"speaker": SPEAKERS}, {"height": None})

    @property
    def parameters(self) -> dict[str, Any]:
        return {}

    def sources(self, split: Split) -> list[str]:
        return {"train": ["anna-0", "anna-1", "ben-0", "ben-1"], "val": ["carl-0"], "test": ["dora-0"]}[split]

    def records(self, source: str, rng: np.random.Generator) -> Iterator[Segment]:
        speaker = SPEAKERS.index(source.partition("-")[0])
        for i in range(5):
            mel = rng.normal(-7, 3, self.features.shape).astype(np.float32)
            shape = self.features.converted_shape
            converted = None if shape is None else rng.normal(-7, 3, shape).astype(np.float16)
            factors = {"speaker": speaker, "height": mel.mean(1).tolist()}
            yield Segment(f"{source}-{i}", mel, converted, factors, source, 100.0, i * 0.2)


@pytest.fixture(scope="module")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("segments") / "utterances"
    prepare(ToyUtterances(), out, shard_sources=2)
    return out


def independent_records(split: Path) -> dict[str, tuple[NDArray[Any], NDArray[Any], dict[str, Any]]]:
    """Every record of a split, by tarfile, `np.load` and json."""
    records = {}
    for path in sorted(split.glob("*.tar")):
        with tarfile.open(path) as tar:
            contents = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        for name in [n for n in contents if n.endswith(".json")]:
            key = name.removesuffix(".json")
            mel, converted = (np.load(io.BytesIO(contents[f"{key}.{kind}.npy"])) for kind in ("mel", "converted"))
            records[key] = (mel, converted, json.loads(contents[name]))
    return records


def segments(voices: int = 4) -> list[Segment]:
    features = Features.for_segments(20, replace(MEL, voices=voices))
    return list(ToyUtterances(features).records("anna-0", np.random.default_rng(1)))


def test_another_reader_finds_the_values(utterances: Path) -> None:
    read = independent_records(utterances / "train")
    assert len(read) == 20
    with tarfile.open(utterances / "val" / "val-000000.tar") as tar:
        assert tar.getnames()[:3] == ["carl-0-0.mel.npy", "carl-0-0.converted.npy", "carl-0-0.json"]
    for key, (mel, converted, about) in read.items():
        assert (mel.dtype.str, mel.shape) == ("<f4", (20, 80))
        assert (converted.dtype.str, converted.shape) == ("<f2", (4, 20, 80))
        assert about["key"] == key
        assert about["source"] == key[:-2]
        assert (about["frames"], about["rate"], about["start"]) == (20, 100.0, int(key[-1]) * 0.2)
    last_of_four = np.random.default_rng([0, 0, 4])  # seed, split, place + 1
    for segment in ToyUtterances().records("ben-1", last_of_four):
        mel, converted, about = read[segment.key]
        np.testing.assert_array_equal(mel, segment.mel)
        np.testing.assert_array_equal(converted, segment.converted)
        assert about["factors"] == segment.factors


def test_webdataset_reads_the_shards(utterances: Path) -> None:
    import webdataset

    expected = independent_records(utterances / "train")
    tars = [str(tar) for tar in sorted((utterances / "train").glob("*.tar"))]
    rows = {row["__key__"]: row for row in webdataset.WebDataset(tars, shardshuffle=False).decode()}
    assert rows.keys() == expected.keys()
    for key, (mel, converted, about) in expected.items():
        np.testing.assert_array_equal(rows[key]["mel.npy"], mel)
        np.testing.assert_array_equal(rows[key]["converted.npy"], converted)
        assert rows[key]["json"] == about


@pytest.mark.parametrize("threads", [1, 2])
def test_the_stream_gives_exactly_the_values(utterances: Path, threads: int) -> None:
    expected = independent_records(utterances / "train")
    stream = SequenceStream(utterances / "train", 6, seed=3, factors=["speaker", "height"], threads=threads)
    batches = list(stream)
    assert [len(batch.keys) for batch in batches] == [6, 6, 6, 2]
    assert sorted(key for batch in batches for key in batch.keys) == sorted(expected)
    in_file_order = list(expected)
    for batch in batches:
        assert (batch.x.dtype, batch.x.shape[1:]) == (torch.float32, (20, 80))
        assert batch.converted is not None
        assert (batch.converted.dtype, batch.converted.shape[1:]) == (torch.float16, (4, 20, 80))
        for i, key in enumerate(batch.keys):
            mel, converted, about = expected[key]
            np.testing.assert_array_equal(batch.x[i].numpy(), mel)
            np.testing.assert_array_equal(batch.converted[i].numpy(), converted)
            assert int(batch.factors["speaker"][i]) == about["factors"]["speaker"]
            np.testing.assert_allclose(batch.factors["height"][i].numpy(), about["factors"]["height"], rtol=1e-6)
            assert in_file_order[int(batch.indices[i])] == key


def test_the_order_does_not_depend_on_threads_and_resumes(utterances: Path) -> None:
    whole = list(SequenceStream(utterances / "train", 6, seed=3, threads=1))
    stream = SequenceStream(utterances / "train", 6, seed=3, threads=2)
    first = iter(stream)
    assert [next(first).keys for _ in range(2)] == [batch.keys for batch in whole[:2]]
    resumed = SequenceStream(utterances / "train", 6, seed=3)
    resumed.load_state_dict(stream.state_dict())
    for batch, expected in zip(resumed, whole[2:], strict=True):
        assert batch.keys == expected.keys
        assert torch.equal(batch.x, expected.x)
        assert batch.converted is not None
        assert expected.converted is not None
        assert torch.equal(batch.converted, expected.converted)


def test_without_other_voices_there_is_no_converted(tmp_path: Path) -> None:
    prepare(ToyUtterances(Features.for_segments(20, replace(MEL, voices=0))), tmp_path / "plain")
    with tarfile.open(tmp_path / "plain" / "val" / "val-000000.tar") as tar:
        assert tar.getnames()[:2] == ["carl-0-0.mel.npy", "carl-0-0.json"]
    (batch,) = SequenceStream(tmp_path / "plain" / "val", 5)
    assert batch.converted is None
    assert batch.x.shape == (5, 20, 80)


def test_the_manifest_says_what_the_segments_are(utterances: Path) -> None:
    text = (utterances / "test" / "manifest.json").read_text()
    dataset = json.loads(text)["dataset"]
    assert dataset["modality"] == "segment"
    assert dataset["features"]["shape"] == [20, 80]
    assert dataset["features"]["mel"]["mean"] == list(MEL.mean)
    assert dataset["static"]["speaker"] == SPEAKERS, "the classes cover all splits"
    manifest = load_manifest(utterances / "test")
    assert manifest.dataset == ToyUtterances().info
    assert manifest.to_json() == text
    assert (manifest.dataset.modality, manifest.dataset.features.rate) == ("segment", 100.0)
    assert manifest.dataset.features.record_bytes == 20 * 80 * 4 + 4 * 20 * 80 * 2


MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "as clips": (lambda d: d.update(modality="clip"), r"dataset\.features"),
    "clips as segments": (lambda d: d["features"].pop("mel"), "'mel' is a required property"),
    "dtype": (lambda d: d["features"].update(dtype="uint8"), r"features\.dtype"),
    "codec": (lambda d: d["features"].update(codec="webp"), r"features\.codec"),
    "mels": (lambda d: d["features"].update(shape=[20, 40]), r"not float32 \[T, 80\]"),
    "mean": (lambda d: d["features"]["mel"]["mean"].pop(), "mean and std of 80 mels"),
    "std": (lambda d: d["features"]["mel"]["std"].__setitem__(0, -1), r"mel\.std\[0\]"),
    "voices": (lambda d: d["features"]["mel"].update(voices=-1), r"mel\.voices"),
    "large": (lambda d: d["features"].update(shape=[100_000, 80], mel={**d["features"]["mel"], "voices": 99}), "limit"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_that_contradict_themselves(utterances: Path, name: str) -> None:
    change, message = MANIFESTS[name]
    raw = json.loads((utterances / "val" / "manifest.json").read_text())
    change(raw["dataset"])
    with pytest.raises(ValueError, match=message):
        Manifest.from_json(json.dumps(raw))


def array(value: Any, shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
    return np.full(shape, value, dtype)


def test_records_must_fit_the_data_set() -> None:
    def pack(record: Record, features: Features = FEATURES) -> None:
        pack_shard("a.tar", [record], features)

    segment, clip = segments()[0], Clip("c", array(0, (2, 4, 4, 3), np.uint8))
    pack(segment)
    with pytest.raises(ValueError, match=r"mel is \[20, 80\], not \[10, 80\]"):
        pack(segment, Features.for_segments(10, MEL))
    with pytest.raises(ValueError, match="has 4 other voices, not 3"):
        pack(segment, Features.for_segments(20, replace(MEL, voices=3)))
    with pytest.raises(ValueError, match="has 0 other voices, not 4"):
        pack(segments(voices=0)[0])
    with pytest.raises(ValueError, match=r"mel is \[20, 80\], not \[2, 4, 4, 3\]"):
        pack(segment, Features((2, 4, 4, 3)))
    with pytest.raises(ValueError, match=r"frames are \[2, 4, 4, 3\], not \[20, 80\]"):
        pack(clip)


def npy(value: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=True)
    return buffer.getvalue()


GOOD = {"mel.npy": npy(array(1, (20, 80))), "converted.npy": npy(array(2, (4, 20, 80), np.float16)), "json": b"{}"}


def shard_of(folder: Path, members: dict[str, bytes]) -> Shard:
    with tarfile.open(folder / "a.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(f"a.{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    data = (folder / "a.tar").read_bytes()
    return ShardReader(LocalFolder(folder), FEATURES).read(
        ShardEntry("a.tar", 1, len(data), hashlib.sha256(data).hexdigest())
    )


def decode(shard: Shard) -> tuple[NDArray[Any], NDArray[Any]]:
    mel, converted = array(9, (20, 80)), array(9, (4, 20, 80), np.float16)
    assert shard.decode(0, mel, converted) == "a"
    return mel, converted


@pytest.mark.parametrize("value", [-65504, 65504, 6e-8, -0.0])
def test_every_finite_value_is_decoded(tmp_path: Path, value: float) -> None:
    voices = npy(array(value, (4, 20, 80), np.float16))
    _, converted = decode(shard_of(tmp_path, {**GOOD, "converted.npy": voices}))
    assert (converted == np.float16(value)).all()


def test_a_stored_segment_is_decoded_in_place(tmp_path: Path) -> None:
    mel, converted = decode(shard_of(tmp_path, GOOD))
    assert (mel == 1).all()
    assert (converted == 2).all()
    only_mel = array(9, (20, 80))
    shard_of(tmp_path, GOOD).decode(0, only_mel)
    assert (only_mel == 1).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mel.npy", array(1, (20, 80), np.float64)),
        ("mel.npy", array(1, (20, 80), ">f4")),
        ("mel.npy", array(1, (10, 80))),
        ("mel.npy", array(1, (20, 80), object)),
        ("mel.npy", array(np.nan, (20, 80))),
        ("mel.npy", np.asfortranarray(array(1, (20, 80)))),
        ("converted.npy", array(1, (3, 20, 80), np.float16)),
        ("converted.npy", array(1, (4, 20, 80), np.float32)),
        ("converted.npy", array(np.inf, (4, 20, 80), np.float16)),
        ("converted.npy", array(-np.inf, (4, 20, 80), np.float16)),
        ("converted.npy", np.where(np.arange(80) == 7, np.nan, array(0, (4, 20, 80))).astype(np.float16)),
    ],
)
def test_stored_values_that_are_no_segment(tmp_path: Path, name: str, value: NDArray[Any]) -> None:
    shard = shard_of(tmp_path, {**GOOD, name: npy(value)})
    with pytest.raises(ShardError, match=rf"a\.tar: a\.{name}: "):
        decode(shard)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (["mel.npy", "json"], "no a.converted.npy after its mel.npy"),
        (["mel.npy", "json", "converted.npy"], "no a.converted.npy after its mel.npy"),
        (["mel.npy", "converted.npy"], "no a.json after its converted.npy"),
        (["converted.npy", "mel.npy", "json"], "is not <key>.mel.npy"),
        (["frames.npy", "json"], "is not <key>.mel.npy"),
    ],
)
def test_members_come_in_their_order(tmp_path: Path, order: list[str], message: str) -> None:
    with pytest.raises(ShardError, match=message):
        shard_of(tmp_path, {name: GOOD.get(name, b"") for name in order})
