"""A check reports every damage with the name of its shard, and nothing in a sound data set."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored_records import claim, entry_of, members
from tar_mutations import tar_of
from toy_clips import ToyClips

from seqviews.pipeline.manifest import Split, load_manifest
from seqviews.pipeline.prepare.write import write_shards
from seqviews.pipeline.records import Clip, ShardError
from seqviews.pipeline.shards.check import check_dataset


@pytest.fixture
def data(toy: Path, tmp_path: Path) -> Path:
    """A copy of the toy data set that can be damaged."""
    shutil.copytree(toy, tmp_path / "toy")
    return tmp_path / "toy"


def problems(folder: Path, **options: Any) -> list[str]:
    return [problem for found in check_dataset(folder, **options).values() for problem in found.problems]


def tamper(split: Path, extension: str, change: Callable[[bytes], bytes], shard: int = 0) -> str:
    """Change the first member with this extension and the manifest with it; returns the record's key."""
    entry = load_manifest(split).shards[shard]
    found = members(split / entry.name)
    position, (name, data) = next((i, m) for i, m in enumerate(found) if m[0].endswith(extension))
    found[position] = (name, change(data))
    (split / entry.name).write_bytes(tar_of(found))
    claim(split, entry_of(split / entry.name, entry.records))
    return name.partition(".")[0]


def test_a_sound_data_set_has_no_problems(toy: Path) -> None:
    for fast in (False, True):
        checks = check_dataset(toy, fast=fast)
        counts = {split: (found.shards, found.records) for split, found in checks.items()}
        assert counts == {"train": (6, 36), "val": (2, 9), "test": (2, 9)}
        assert sum(found.bytes for found in checks.values()) == sum(p.stat().st_size for p in toy.rglob("*.tar"))
        assert not any(found.problems for found in checks.values())
    assert check_dataset(toy / "val").keys() == {"val"}
    assert {f"source train-{i}" for i in range(12)} == check_dataset(toy)["train"].identities


def test_every_damaged_shard_is_reported(data: Path) -> None:
    train = data / "train"
    flipped = bytearray((train / "train-000001.tar").read_bytes())
    flipped[3000] ^= 4
    (train / "train-000001.tar").write_bytes(flipped)
    (train / "train-000002.tar").write_bytes((train / "train-000002.tar").read_bytes()[:-512])
    (train / "train-000004.tar").unlink()
    (data / "val" / "manifest.json").write_text("{")
    reasons = {"train-000001.tar": "SHA-256", "train-000002.tar": "the manifest says"}
    reasons |= {"train-000004.tar": "cannot be read", "val/manifest.json": "not JSON"}
    for fast in (False, True):
        for problem, (name, reason) in zip(problems(data, fast=fast), reasons.items(), strict=True):
            assert all(part in problem for part in (str(data), name, reason))
    assert check_dataset(data)["train"].records == 36 - 3 * 6


def with_json(**changes: Any) -> Callable[[bytes], bytes]:
    return lambda data: json.dumps({**json.loads(data), **changes}).encode()


PATH = [[0.0, 0.0]] * 4
BAD_RECORDS: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "frames cut": ("frames.webp", lambda data: data[: len(data) // 2], "frames.webp"),
    "class too high": ("json", with_json(factors={"shade": 2, "path": PATH}), "shade is 2, not a class from 0 to 1"),
    "factor missing": ("json", with_json(factors={"path": PATH}), "shade is None"),
    "trajectory short": ("json", with_json(factors={"shade": 0, "path": PATH[:3]}), "path is not a trajectory"),
    "trajectory of another shape": (
        "json",
        with_json(factors={"shade": 0, "path": [[0.0]] * 4}),
        "path is [1] a frame in",
    ),
    "another key": ("json", with_json(key="somebody"), "key is 'somebody'"),
    "another length": ("json", with_json(frames=5), "frames is 5, not 4"),
    "no source": ("json", with_json(source=None), "no source"),
    "no JSON": ("json", lambda data: data[:-1], "not JSON"),
}


@pytest.mark.parametrize("name", BAD_RECORDS)
def test_a_bad_record_is_reported_although_the_hashes_agree(data: Path, name: str) -> None:
    extension, change, message = BAD_RECORDS[name]
    key = tamper(data / "train", extension, change, shard=3)
    (problem,) = problems(data)
    assert all(part in problem for part in ("train-000003.tar", message))
    assert key in problem or "in another" in problem
    assert problems(data, fast=True) == []


def test_a_repeated_key_is_reported(data: Path) -> None:
    manifest = load_manifest(data / "train")
    again = data / "train" / "again.tar"
    again.write_bytes((data / "train" / "train-000000.tar").read_bytes() + bytes(512))  # another SHA-256
    entry = entry_of(again, manifest.shards[0].records)
    (data / "train" / "manifest.json").write_text(replace(manifest, shards=(*manifest.shards, entry)).to_json())
    (problem,) = problems(data, fast=True)
    assert "again.tar: key train-" in problem
    assert "is in train-000000.tar too, and 5 more" in problem


def test_splits_of_different_data_sets_are_reported(data: Path) -> None:
    shutil.rmtree(data / "test")
    shutil.copytree(data / "val", data / "test")
    manifest = data / "val" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"toy"', '"other"'))
    assert [problem.removeprefix(f"{data}/") for problem in problems(data)] == [
        "val/manifest.json: describes another data set than the manifest of train",
        "test/manifest.json: is of the split val, not test",
        "val and test share source val-0, and 2 more",
    ]


def people(out: Path, sources: dict[Split, Sequence[str]], shades: dict[str, int]) -> Path:
    def records(source: str, rng: np.random.Generator) -> Iterator[Clip]:
        frames = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
        yield Clip(f"{len(source)}-{rng.integers(1 << 40)}", frames, {"shade": shades.get(source, 0)}, source)

    info = replace(ToyClips(shape=(4, 8, 8, 3)).info, dynamic={})
    write_shards(sources, out, records, info)
    return out


SHARED = [("bob", "bob", "bob"), ("mnist-1+mnist-2", "mnist-2+mnist-3", "mnist-2"), ("a+b.mp4", "c+b.mp4", None)]
SHARED += [("mnist-1+mnist-2", "mnist-2", "mnist-2"), ("", "", None)]


@pytest.mark.parametrize(("train", "test", "shared"), SHARED)
def test_a_source_in_two_splits_is_reported(tmp_path: Path, train: str, test: str, shared: str | None) -> None:
    folder = people(tmp_path / "people", {"train": ["ann", train], "test": ["eve", test]}, {})
    assert problems(folder) == ([f"train and test share source {shared}"] if shared else [])
    assert problems(folder, fast=True) == []


def test_an_identity_in_two_splits_is_reported(tmp_path: Path) -> None:
    folder = people(tmp_path / "a", {"train": ["ann", "bob"], "test": ["eve"]}, {"ann": 0, "bob": 0, "eve": 1})
    assert problems(folder, identity=["shade"]) == []
    folder = people(tmp_path / "b", {"train": ["ann", "bob"], "test": ["eve"]}, {"ann": 0, "bob": 1, "eve": 1})
    assert problems(folder) == []
    assert problems(folder, identity=["shade"]) == ["train and test share shade light"]
    with pytest.raises(ValueError, match="no static factor speaker"):
        check_dataset(folder, identity=["speaker"])


def test_folders_that_are_not_data_sets(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="is not a prepared data set"):
        check_dataset(tmp_path)
    (tmp_path / "train").mkdir()
    (problem,) = problems(tmp_path)
    assert "its preparation did not finish" in problem


def test_segments_are_checked_too(speech: Path, tmp_path: Path) -> None:
    shutil.copytree(speech, tmp_path / "speech")
    assert problems(tmp_path / "speech") == []
    key = tamper(tmp_path / "speech" / "train", "converted.npy", lambda data: data[:-2])
    (problem,) = problems(tmp_path / "speech")
    assert f"{key}.converted.npy" in problem
