"""Subsets: exactly the records whose factors the condition takes, no frame decoded, a state that is only theirs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored_clips import independent_records
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
    """Of 12 sources, so that shards are kept whole, in part, and not at all."""
    path = factors["path"]
    assert isinstance(path, list)
    return factors["source"] in (0, 5, 6) or (factors["source"] == 1 and path[0][0] > 0)


def test_a_subset_is_what_the_condition_takes(numbered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = independent_records(numbered)
    expected = {
        index: (key, frames) for index, (key, (frames, about)) in enumerate(stored.items()) if few(about["factors"])
    }
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
        found: dict[int, tuple[str, Any]] = {}
        for batch in batches:
            found.update(zip(batch.indices.tolist(), zip(batch.keys, batch.x, strict=True), strict=True))
        assert found.keys() == expected.keys()
        for index, (key, x) in found.items():
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


def test_everything_kept_is_the_whole(numbered: Path) -> None:
    whole = [(b.keys, b.indices.tolist()) for b in SequenceStream(RecordSet(numbered), 5, seed=3)]
    kept = [(b.keys, b.indices.tolist()) for b in SequenceStream(RecordSet(numbered, lambda _: True), 5, seed=3)]
    assert kept == whole == [(b.keys, b.indices.tolist()) for b in SequenceStream(numbered, 5, seed=3)]


def test_the_state_knows_the_subset(numbered: Path) -> None:
    def subset(*sources: int) -> SequenceStream:
        return SequenceStream(RecordSet(numbered, lambda factors: factors["source"] in sources), 3, lanes=1)

    state = subset(0, 5).state_dict()
    subset(5, 0).load_state_dict(state)
    for other in (subset(0, 6), SequenceStream(numbered, 3, lanes=1)):
        with pytest.raises(ValueError, match="manifests"):
            other.load_state_dict(state)


def test_what_cannot_be_a_subset(numbered: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`where` is true for none of its 36"):
        RecordSet(numbered, lambda factors: factors["source"] == 12)
    shutil.copytree(numbered, tmp_path / "train")
    damaged = tmp_path / "train" / "train-000004.tar"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x01")
    RecordSet(tmp_path / "train")
    with pytest.raises(ShardError, match=r"train-000004\.tar: its SHA-256"):
        RecordSet(tmp_path / "train", lambda _: True)
