"""Sources that cannot be read: left out, listed, and retried alone."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from object_storage import Storage
from toy_clips import FragileClips, ToyClips, digests

from seqviews.pipeline.manifest import Split, load_manifest
from seqviews.pipeline.prepare.failures import Failure, failure_limit, read_failures
from seqviews.pipeline.prepare.finalize import finalize
from seqviews.pipeline.prepare.parts import Part
from seqviews.pipeline.prepare.plan import plan_shards
from seqviews.pipeline.prepare.write import prepare, write_shards
from seqviews.pipeline.records import Clip
from seqviews.pipeline.stream.stream import SequenceStream

BROKEN = ("train-3", "train-7", "val-0")


@pytest.fixture
def fragile(tmp_path: Path) -> FragileClips:
    (tmp_path / "broken").mkdir()
    for name in BROKEN:
        (tmp_path / "broken" / name).touch()
    return FragileClips(broken=tmp_path / "broken")


def keys(split: Path) -> list[str]:
    return sorted(key for batch in SequenceStream(split, 4) for key in batch.keys)


def test_they_are_left_out_and_listed(fragile: FragileClips, toy: Path, tmp_path: Path) -> None:
    out, failed = tmp_path / "out", list[Failure]()
    manifests = prepare(fragile, out, shard_sources=2, workers=2, max_failures=3, failed=failed.append)
    assert sorted((f.split, f.source, f.reason) for f in failed) == [
        (name.partition("-")[0], name, f"KeyError: '{name}\\nis broken'") for name in BROKEN
    ]
    assert keys(out / "train") == [k for k in keys(toy / "train") if not k.startswith(("train-3-", "train-7-"))]
    assert {split: m.parameters.get("failed_sources") for split, m in manifests.items()} == {
        "train": 2,
        "val": 1,
        "test": None,
    }
    assert set(read_failures(out / "train" / "failures.json")) == {f for f in failed if f.split == "train"}
    before = digests(out)
    again: list[Failure] = []
    assert prepare(fragile, out, shard_sources=2, max_failures="17%", failed=again.append) == manifests
    assert sorted(map(str, again)) == sorted(map(str, failed))
    assert digests(out) == before


def test_a_retry_writes_their_shards_alone(fragile: FragileClips, toy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in (2, 1):
        prepare(fragile, out, shard_sources=2, max_failures=3, part=Part(number, 2))
    with pytest.raises(
        ValueError, match=r"3 sources cannot be read, and none is accepted \(--max-failures\); the last"
    ):
        finalize(out)
    finalize(out, max_failures=3)
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*.tar")}
    (tmp_path / "broken" / "train-7").unlink()
    listed = read_failures(out / "train" / "failures.json")
    prepare(fragile, out, shard_sources=2, max_failures=3, retry=listed)
    assert load_manifest(out / "train").parameters["failed_sources"] == 1
    assert [f.source for f in read_failures(out / "train" / "failures.json")] == ["train-3"]
    changed = [path for path, time in files.items() if path.stat().st_mtime_ns != time]
    assert [path.name for path in changed] == [f.shard for f in listed if f.source == "train-7"]
    for name in ("train-3", "val-0"):
        (tmp_path / "broken" / name).unlink()
    listed += read_failures(out / "val" / "failures.json")
    prepare(ToyClips(), out, shard_sources=2, retry=listed)
    assert digests(out) == digests(toy)


def test_a_retry_in_a_bucket(fragile: FragileClips, storage: Storage, toy: Path, tmp_path: Path) -> None:
    prepare(fragile, storage.url, shard_sources=2, max_failures=5)
    listed = [f for s in ("train", "val") for f in json.loads(storage.objects()[f"{s}/failures.json"])["failures"]]
    for name in BROKEN:
        (tmp_path / "broken" / name).unlink()
    prepare(ToyClips(), storage.url, shard_sources=2, retry=[Failure(**failure) for failure in listed])
    assert storage.objects() == {name: (toy / name).read_bytes() for name in digests(toy)}


def test_too_many(fragile: FragileClips, tmp_path: Path) -> None:
    for accepted in (2, "10%"):
        with pytest.raises(ValueError, match=r"[23] sources cannot be read, more than the [12] that are accepted"):
            prepare(fragile, tmp_path / "out", shard_sources=2, max_failures=accepted)
    with pytest.raises(ValueError, match=r"^1 source cannot be read, and none is accepted .* the last: train-"):
        prepare(fragile, tmp_path / "out", shard_sources=2)
    (tmp_path / "broken" / "val-1").touch()
    (tmp_path / "broken" / "val-2").touch()
    with pytest.raises(ValueError, match=r"no source of the split val could be read; the first: KeyError"):
        prepare(fragile, tmp_path / "none", max_failures=18)


def test_a_shard_in_which_all_fail_is_in_no_manifest(fragile: FragileClips, toy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (shard, sources) = next(
        (plan.name, [name for name, _ in plan.sources])
        for plan in plan_shards("val", fragile.sources("val"), 0, 2)
        if "val-0" in dict(plan.sources)
    )
    for name in sources:
        (tmp_path / "broken" / name).touch()
    manifests = prepare(fragile, out, shard_sources=2, max_failures=9)
    assert shard not in [entry.name for entry in manifests["val"].shards]
    for name in {*BROKEN, *sources}:
        (tmp_path / "broken" / name).unlink()
    listed = [f for split in ("train", "val") for f in read_failures(out / split / "failures.json")]
    prepare(ToyClips(), out, shard_sources=2, retry=listed)
    assert digests(out) == digests(toy)


def test_a_shard_of_sources_without_records_is_in_no_manifest(storage: Storage, tmp_path: Path) -> None:
    clips = ToyClips()

    def records(source: str, rng: np.random.Generator) -> Iterator[Clip]:
        return iter(()) if source == "train-1" else clips.records(source, rng)

    sources: dict[Split, list[str]] = {"train": [f"train-{i}" for i in range(3)]}
    places: list[Path | str] = [tmp_path / "out", storage.url]
    for out in 2 * places:  # again when it is complete
        manifests = write_shards(sources, out, records, clips.info, shard_sources=1)
        assert [shard.records > 0 for shard in manifests["train"].shards] == [True, True]
    assert load_manifest(tmp_path / "out" / "train") == manifests["train"]
    with pytest.raises(ValueError, match="no source of the split train has a record"):
        write_shards({"train": ["train-1"]}, tmp_path / "none", records, clips.info)


@pytest.mark.parametrize("text", ["", "x", "-1", "101%", "1.5", "%"])
def test_limits(text: str) -> None:
    assert (failure_limit("100%", 7), failure_limit("0.1%", 999), failure_limit("29%", 100)) == (7, 0, 29)
    with pytest.raises(ValueError, match="not a number of sources or a percentage"):
        failure_limit(text, 10)


def test_what_is_no_list_of_failures(toy: Path, tmp_path: Path) -> None:
    for text in ("", "[]", '{"failures": 3}', '{"failures": [{}]}'):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(ValueError, match=r"x\.json is not a failures\.json of a preparation"):
            read_failures(tmp_path / "x.json")
    foreign = [Failure("val", "val-000000.tar", "somebody", "reason")]
    with pytest.raises(ValueError, match="the failure to retry, somebody of val, is of no source of this data set"):
        prepare(ToyClips(), tmp_path / "out", shard_sources=2, retry=foreign)
