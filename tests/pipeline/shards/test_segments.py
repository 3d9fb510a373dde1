"""Segments through shards and stream: exact values, and errors that name what is not a segment."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stored_records import independent_jsons, members, read_shard
from tar_mutations import tar_of

from seqviews.pipeline.features import Features, MelFeatures
from seqviews.pipeline.manifest import DatasetInfo, Manifest, Split, load_manifest
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.records import Clip, Record, Segment, ShardError
from seqviews.pipeline.shards.shard import Shard, pack_shard
from seqviews.pipeline.stream.stream import SequenceStream

MEL = MelFeatures(mean=tuple(np.linspace(-9, -5, 80).tolist()), std=(2.0,) * 80, voices=4)
FEATURES = Features.for_segments(20, MEL)
SPEAKERS = ["anna", "ben", "carl", "dora"]


@dataclass(frozen=True)
class ToyUtterances:
    """Random utterances of five segments; train, val and test have different speakers."""

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


def independent_segments(split: Path) -> dict[str, tuple[NDArray[Any], NDArray[Any], dict[str, Any]]]:
    """Mel, other voices and JSON of every record of a split by key, in stored order."""
    tars = sorted(split.glob("*.tar"))
    arrays = {name: np.load(io.BytesIO(data)) for name, data in members(*tars) if name.endswith(".npy")}
    jsons = independent_jsons(tars)
    return {key: (arrays[f"{key}.mel.npy"], arrays[f"{key}.converted.npy"], about) for key, about in jsons.items()}


def segments(voices: int = 4) -> list[Segment]:
    features = Features.for_segments(20, replace(MEL, voices=voices))
    return list(ToyUtterances(features).records("anna-0", np.random.default_rng(1)))


def test_other_readers_find_the_values(utterances: Path) -> None:
    import webdataset

    tars = sorted(map(str, (utterances / "train").glob("*.tar")))
    read = independent_segments(utterances / "train")
    rows = {row["__key__"]: row for row in webdataset.WebDataset(tars, shardshuffle=False).decode()}
    assert (len(read), rows.keys()) == (20, read.keys())
    names = [name for name, _ in members(utterances / "val" / "val-000000.tar")]
    assert names[:3] == ["carl-0-0.mel.npy", "carl-0-0.converted.npy", "carl-0-0.json"]
    for key, (mel, converted, about) in read.items():
        assert (mel.dtype.str, mel.shape) == ("<f4", (20, 80))
        assert (converted.dtype.str, converted.shape) == ("<f2", (4, 20, 80))
        assert (about["key"], about["source"]) == (key, key[:-2])
        assert (about["frames"], about["rate"], about["start"]) == (20, 100.0, int(key[-1]) * 0.2)
        np.testing.assert_array_equal(rows[key]["mel.npy"], mel)
        np.testing.assert_array_equal(rows[key]["converted.npy"], converted)
        assert rows[key]["json"] == about
    last_of_four = np.random.default_rng([0, 0, 4])  # seed, split, position + 1
    for segment in ToyUtterances().records("ben-1", last_of_four):
        mel, converted, about = read[segment.key]
        np.testing.assert_array_equal(mel, segment.mel)
        np.testing.assert_array_equal(converted, segment.converted)
        assert about["factors"] == segment.factors


@pytest.mark.parametrize("threads", [1, 2])
def test_the_stream_yields_the_exact_values_and_resumes(utterances: Path, threads: int) -> None:
    expected = independent_segments(utterances / "train")
    stream = SequenceStream(utterances / "train", 6, seed=3, factors=["speaker", "height"], threads=threads)
    start = iter(stream)
    batches = [next(start), next(start)]
    resumed = SequenceStream(utterances / "train", 6, seed=3, factors=["speaker", "height"])
    resumed.load_state_dict(stream.state_dict())
    batches += resumed
    whole = SequenceStream(utterances / "train", 6, seed=3, threads=1)
    assert [batch.keys for batch in batches] == [batch.keys for batch in whole]
    assert [len(batch.keys) for batch in batches] == [6, 6, 6, 2]
    assert sorted(key for batch in batches for key in batch.keys) == sorted(expected)
    in_file_order = list(expected)
    for batch in batches:
        assert batch.converted is not None
        assert (batch.x.dtype, batch.converted.dtype) == (torch.float32, torch.float16)
        for i, key in enumerate(batch.keys):
            mel, converted, about = expected[key]
            np.testing.assert_array_equal(batch.x[i].numpy(), mel)
            np.testing.assert_array_equal(batch.converted[i].numpy(), converted)
            assert int(batch.factors["speaker"][i]) == about["factors"]["speaker"]
            np.testing.assert_allclose(batch.factors["height"][i].numpy(), about["factors"]["height"], rtol=1e-6)
            assert in_file_order[int(batch.indices[i])] == key


def test_without_other_voices_there_is_no_converted(tmp_path: Path) -> None:
    prepare(ToyUtterances(Features.for_segments(20, replace(MEL, voices=0))), tmp_path / "plain")
    names = [name for name, _ in members(tmp_path / "plain" / "val" / "val-000000.tar")]
    assert names[:2] == ["carl-0-0.mel.npy", "carl-0-0.json"]
    (batch,) = SequenceStream(tmp_path / "plain" / "val", 5)
    assert batch.converted is None
    assert batch.x.shape == (5, 20, 80)


def test_the_manifest_describes_the_segments(utterances: Path) -> None:
    text = (utterances / "test" / "manifest.json").read_text()
    dataset = json.loads(text)["dataset"]
    assert (dataset["modality"], dataset["features"]["shape"]) == ("segment", [20, 80])
    assert dataset["features"]["mel"]["mean"] == list(MEL.mean)
    assert dataset["static"]["speaker"] == SPEAKERS, "the classes cover all splits"
    manifest = load_manifest(utterances / "test")
    assert (manifest.dataset, manifest.to_json()) == (ToyUtterances().info, text)
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
def test_contradictory_manifests(utterances: Path, name: str) -> None:
    change, message = MANIFESTS[name]
    raw = json.loads((utterances / "val" / "manifest.json").read_text())
    change(raw["dataset"])
    with pytest.raises(ValueError, match=message):
        Manifest.from_json(json.dumps(raw))


def array(value: Any, shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
    return np.full(shape, value, dtype)


def test_records_must_match_the_features() -> None:
    segment, clip = segments()[0], Clip("c", array(0, (2, 4, 4, 3), np.uint8))
    wrong: list[tuple[Record, Features, str]] = [
        (segment, Features.for_segments(10, MEL), r"mel is \[20, 80\], not \[10, 80\]"),
        (segment, Features.for_segments(20, replace(MEL, voices=3)), "has 4 other voices, not 3"),
        (segments(voices=0)[0], FEATURES, "has 0 other voices, not 4"),
        (segment, Features((2, 4, 4, 3)), r"mel is \[20, 80\], not \[2, 4, 4, 3\]"),
        (clip, FEATURES, r"frames are \[2, 4, 4, 3\], not \[20, 80\]"),
    ]
    pack_shard("a.tar", [segment], FEATURES)
    for record, features, message in wrong:
        with pytest.raises(ValueError, match=message):
            pack_shard("a.tar", [record], features)


def npy(value: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=True)
    return buffer.getvalue()


GOOD = {"mel.npy": npy(array(1, (20, 80))), "converted.npy": npy(array(2, (4, 20, 80), np.float16)), "json": b"{}"}


def shard_of(folder: Path, contents: dict[str, bytes]) -> Shard:
    return read_shard(folder, tar_of([(f"a.{name}", data) for name, data in contents.items()]), FEATURES)


def decode(shard: Shard) -> tuple[NDArray[Any], NDArray[Any]]:
    mel, converted = array(9, (20, 80)), array(9, (4, 20, 80), np.float16)
    assert shard.decode(0, mel, converted) == "a"
    return mel, converted


@pytest.mark.parametrize("value", [2, -65504, 65504, 6e-8, -0.0])
def test_a_stored_segment_is_decoded_in_place(tmp_path: Path, value: float) -> None:
    voices = npy(array(value, (4, 20, 80), np.float16))
    shard = shard_of(tmp_path, {**GOOD, "converted.npy": voices})
    (mel, converted), only_mel = decode(shard), array(9, (20, 80))
    shard.decode(0, only_mel)
    for found, expected in ((mel, 1), (only_mel, 1), (converted, np.float16(value))):
        assert (found == expected).all()


ONE_NAN = np.where(np.arange(80) == 7, np.nan, array(0, (4, 20, 80))).astype(np.float16)
WRONG_MELS = [array(1, (20, 80), dtype) for dtype in (np.float64, ">f4", object)]
WRONG_MELS += [array(1, (10, 80)), array(np.nan, (20, 80)), np.asfortranarray(array(1, (20, 80)))]
WRONG_VOICES = [array(1, (3, 20, 80), np.float16), array(1, (4, 20, 80)), ONE_NAN]
WRONG_VOICES += [array(value, (4, 20, 80), np.float16) for value in (np.inf, -np.inf)]


@pytest.mark.parametrize(("name", "values"), [("mel.npy", WRONG_MELS), ("converted.npy", WRONG_VOICES)])
def test_stored_values_that_are_not_a_segment(tmp_path: Path, name: str, values: list[NDArray[Any]]) -> None:
    for value in values:
        shard = shard_of(tmp_path, {**GOOD, name: npy(value)})
        with pytest.raises(ShardError, match=rf"a\.tar: a\.{name}: "):
            decode(shard)


ORDERS = [
    ("mel.npy json", "no a.converted.npy after its mel.npy"),
    ("mel.npy json converted.npy", "no a.converted.npy after its mel.npy"),
    ("mel.npy converted.npy", "no a.json after its converted.npy"),
    ("converted.npy mel.npy json", "is not <key>.mel.npy"),
    ("frames.npy json", "is not <key>.mel.npy"),
]


@pytest.mark.parametrize(("order", "message"), ORDERS)
def test_members_must_be_in_order(tmp_path: Path, order: str, message: str) -> None:
    with pytest.raises(ShardError, match=message):
        shard_of(tmp_path, {name: GOOD.get(name, b"") for name in order.split()})
