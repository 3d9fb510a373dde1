"""Record sets: subsets by a condition, random access, and sources, compared with a pass over the whole split."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from stored_records import independent_clips
from toy_clips import ToyClips

from seqviews.pipeline.manifest import DatasetInfo
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.records import Clip, Factor, ShardError
from seqviews.pipeline.shards.shard import Shard
from seqviews.pipeline.stream.recordset import RecordSet
from seqviews.pipeline.stream.stream import SequenceStream


@dataclass(frozen=True)
class NumberedClips(ToyClips):
    """Toy clips whose factor `source` is the number of their source."""

    @property
    def info(self) -> DatasetInfo:
        return replace(super().info, static={"source": [f"source {i}" for i in range(12)]}, dynamic={"path": None})

    def records(self, source: str, rng: np.random.Generator) -> Iterator[Clip]:
        number = int(source.rpartition("-")[2])
        for clip in super().records(source, rng):
            yield replace(clip, factors={"source": number, "path": clip.factors["path"]})


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("numbered") / "numbered"
    prepare(NumberedClips(), out, shard_sources=2)
    return out / "train"


def few(factors: Mapping[str, Factor]) -> bool:
    """A condition that keeps some of 12 shards whole, some in part, and some not at all."""
    path = factors["path"]
    assert isinstance(path, list)
    return factors["source"] in (0, 5, 6) or (factors["source"] == 1 and path[0][0] > 0)


def test_a_subset_holds_the_records_that_fulfil_the_condition(numbered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = independent_clips(numbered)
    kept = [few(about["factors"]) for _, about in stored.values()]
    expected = {index: (key, frames) for index, (key, (frames, _)) in enumerate(stored.items()) if kept[index]}
    assert len(expected) == 11
    with monkeypatch.context() as patch:
        patch.delattr(Shard, "decode")
        subset = RecordSet(numbered, where=few)
    assert len(subset) == sum(subset.counts) == 11
    for epoch in range(2):
        stream = SequenceStream(subset, 4, factors=["source"], lanes=2, window=1)
        stream.set_epoch(epoch)
        batches = list(stream)
        assert [len(batch.keys) for batch in batches] == [4, 4, 3]
        assert sorted(index for batch in batches for index in batch.indices.tolist()) == sorted(expected)
        for batch in batches:
            for index, key, x in zip(batch.indices.tolist(), batch.keys, batch.x, strict=True):
                assert key == expected[index][0]
                np.testing.assert_array_equal(x.permute(0, 2, 3, 1).numpy(), expected[index][1])


def test_shards_without_a_kept_record_are_not_read_again(numbered: Path, tmp_path: Path) -> None:
    split = tmp_path / "train"
    shutil.copytree(numbered, split)
    subset = RecordSet(split, where=lambda factors: factors["source"] == 3)
    (shard,) = {int(i) // 6 for batch in SequenceStream(subset, 3) for i in batch.indices}
    for path in split.glob("*.tar"):
        if path.name != f"train-{shard:06d}.tar":
            path.unlink()
    assert sum(len(batch.keys) for batch in SequenceStream(subset, 3)) == 3
    with pytest.raises(ValueError, match="has 1 shards: choose from 1 to 1"):
        SequenceStream(subset, 3, lanes=2)


def test_a_subset_of_everything(numbered: Path) -> None:
    sets: list[Path | RecordSet] = [numbered, RecordSet(numbered), RecordSet(numbered, lambda _: True)]
    plain, whole, kept = ([(b.keys, b.indices.tolist()) for b in SequenceStream(s, 5, seed=3)] for s in sets)
    assert kept == whole == plain


def test_state_of_another_subset(numbered: Path) -> None:
    def subset(*sources: int) -> SequenceStream:
        return SequenceStream(RecordSet(numbered, lambda factors: factors["source"] in sources), 3, lanes=1)

    state = subset(0, 5).state_dict()
    subset(5, 0).load_state_dict(state)
    for other in (subset(0, 6), SequenceStream(numbered, 3, lanes=1)):
        with pytest.raises(ValueError, match="manifests"):
            other.load_state_dict(state)


def test_empty_and_damaged_subsets(numbered: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`where` is true for none of its 36"):
        RecordSet(numbered, lambda factors: factors["source"] == 12)
    shutil.copytree(numbered, tmp_path / "train")
    damaged = tmp_path / "train" / "train-000004.tar"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x01")
    RecordSet(tmp_path / "train")
    with pytest.raises(ShardError, match=r"train-000004\.tar: its SHA-256"):
        RecordSet(tmp_path / "train", lambda _: True)


@pytest.mark.parametrize("indices", [[], [0], [35, 0, 17, 17, 3], list(range(36)), [31, 32, 30]])
def test_random_access_equals_a_pass_over_the_split(numbered: Path, indices: list[int]) -> None:
    (whole,) = SequenceStream(numbered, 36, factors=["source", "path"])
    rows = [whole.indices.tolist().index(index) for index in indices]
    batch = RecordSet(numbered).batch(indices, ["source", "path"])
    assert batch.indices.tolist() == indices
    assert batch.keys == [whole.keys[row] for row in rows]
    assert torch.equal(batch.x, whole.x[rows])
    assert torch.equal(batch.factors["source"], whole.factors["source"][rows])
    assert not rows or torch.equal(batch.factors["path"], whole.factors["path"][rows])


def test_random_access_reads_only_what_it_needs_and_checks_it(numbered: Path, tmp_path: Path) -> None:
    split = tmp_path / "train"
    shutil.copytree(numbered, split)
    for path in split.glob("*.tar"):
        if path.name != "train-000002.tar":
            path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    records = RecordSet(split)
    assert len(records.batch([17, 12]).keys) == 2
    with pytest.raises(ShardError, match=r"train-000003\.tar: its SHA-256"):
        records.batch([17, 18])
    for index in (-1, 36):
        with pytest.raises(IndexError, match=f"index {index} is not in .*train, which has 36 records"):
            records.batch([index])
    with pytest.raises(ValueError, match="has no factor hair"):
        records.batch([12], ["hair"])


def test_sources_are_those_of_every_record(numbered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Shard, "decode")
    names, numbers = RecordSet(numbered, where=few).sources()
    expected = [about["source"] for _, about in independent_clips(numbered).values()]
    assert names == sorted(set(expected))
    assert numbers.dtype == np.int64
    assert [names[number] for number in numbers] == expected
