"""Preparation: the bytes do not depend on the number of workers, and no file is incomplete."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits
from toy_clips import FailingClips, ToyClips, digests
from toy_speech import ToySpeech

from seqviews.pipeline.manifest import SPLITS, load_manifest
from seqviews.pipeline.prepare.write import prepare, write_shards
from seqviews.pipeline.records import Clip
from seqviews.pipeline.shards.codec import _encode_json
from seqviews.pipeline.stream.stream import SequenceStream


def test_bytes_depend_on_the_seed_and_not_on_the_workers(toy: Path, tmp_path: Path) -> None:
    prepare(ToyClips(), tmp_path / "two", shard_sources=2, workers=2)
    assert digests(tmp_path / "two") == digests(toy)
    prepare(ToyClips(), tmp_path / "seed", shard_sources=2, seed=1)
    assert digests(tmp_path / "seed") != digests(toy)


def test_the_bytes_of_records_of_one_length_are_those_of_the_first_release(tmp_path: Path) -> None:
    prepare(ToyClips(codec="npy"), tmp_path / "clips", shard_sources=2)  # no encoder whose version matters
    prepare(ToySpeech(), tmp_path / "speech", shard_sources=2)
    found = {
        f"{name}/{path}": digest for name in ("clips", "speech") for path, digest in digests(tmp_path / name).items()
    }
    assert found["clips/train/train-000000.tar"][:16] == "1d69850c5ce91e35"
    assert found["speech/val/val-000000.tar"][:16] == "e6f072006814740b"
    for name in ("clips", "speech"):
        manifest = json.loads((tmp_path / name / "val" / "manifest.json").read_text())
        assert manifest["schema_version"] == 1
        assert not {"min_frames", "quality", "page_frames"} & manifest["dataset"]["features"].keys()


def test_the_random_stream_of_a_source_does_not_depend_on_the_shards(toy: Path, tmp_path: Path) -> None:
    def frames(folder: Path) -> dict[str, bytes]:
        stream = SequenceStream(folder / "train", 36)
        return {k: x.numpy().tobytes() for b in stream for k, x in zip(b.keys, b.x, strict=True)}

    prepare(ToyClips(), tmp_path / "five", shard_sources=5)
    assert frames(tmp_path / "five") == frames(toy)
    assert len(set(frames(toy).values())) == 36


def test_numbers_of_numpy_give_the_same_bytes(toy: Path, tmp_path: Path) -> None:
    def records(source: str, rng: np.random.Generator) -> Iterator[Clip]:
        for clip in ToyClips().records(source, rng):
            factors: dict[str, Any] = {
                "shade": np.array(clip.factors["shade"]),
                "path": np.array(clip.factors["path"], object),
            }
            yield replace(clip, factors=factors, rate=np.float64(clip.rate or 0))

    clips = ToyClips(shape=tuple(np.array(ToyClips().shape)))
    sources = {split: clips.sources(split) for split in SPLITS}
    parameters = {"counts": np.array(clips.counts)}
    numbers: dict[str, Any] = {"seed": np.uint8(0), "shard_sources": np.int64(2), "parameters": parameters}
    write_shards(sources, tmp_path / "numpy", records, clips.info, **numbers)
    assert digests(tmp_path / "numpy") == digests(toy)
    with pytest.raises(TypeError, match=r"seed is 0\.5, not an integer"):
        write_shards(sources, tmp_path / "half", records, clips.info, seed=0.5)  # type: ignore[arg-type]  # as a user may
    with pytest.raises(ValueError, match=r"record a: its factors cannot be stored: \{1\} of type set"):
        _encode_json({"key": "a", "factors": {"kind": {1}}})


def test_manifests_match_the_files(toy: Path) -> None:
    manifest = load_manifest(toy / "train")
    assert manifest.parameters == {"counts": [12, 3, 3], "seed": 0, "shard_sources": 2}
    assert manifest.encoders["libwebp"].startswith("libwebp")
    for shard in manifest.shards:
        data = (toy / "train" / shard.name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (shard.bytes, shard.sha256)


def test_progress_counts_every_source(tmp_path: Path) -> None:
    seen: list[tuple[str, float, float]] = []
    prepare(ToyClips(), tmp_path / "toy", shard_sources=5, progress=lambda *report: seen.append(report))
    assert seen == [("train", 5, 12), ("train", 10, 12), ("train", 12, 12), ("val", 3, 3), ("test", 3, 3)]


def test_a_writer_computes_on_one_thread_and_leaves_the_limit_as_it_was(tmp_path: Path) -> None:
    toy, during = ToyClips(counts=(2, 1, 1)), list[int]()

    def records(source: str, rng: np.random.Generator) -> Iterator[Clip]:
        during.extend(pool["num_threads"] for pool in threadpool_info())
        yield from toy.records(source, rng)

    with threadpool_limits(2):
        before = [pool["num_threads"] for pool in threadpool_info()]
        write_shards({"train": ["a"]}, tmp_path / "toy", records, toy.info)
        assert [pool["num_threads"] for pool in threadpool_info()] == before
    assert 2 in before
    assert set(during) == {1}


def test_a_failure_leaves_no_manifest_and_no_partial_shard(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train-7 cannot be read"):
        prepare(FailingClips(), tmp_path / "toy", shard_sources=2)
    left = [p.name for p in (tmp_path / "toy" / "train").iterdir()]
    tars = {name for name in left if name.endswith(".tar")}
    assert set(left) - tars <= {f".{name}.json" for name in tars}


def test_a_split_without_sources_is_rejected(tmp_path: Path) -> None:
    toy = ToyClips()
    with pytest.raises(ValueError, match="the split val has no source: leave it out"):
        write_shards({"train": ["train-0"], "val": []}, tmp_path / "toy", toy.records, toy.info)
    assert not (tmp_path / "toy").exists()
