"""A reader remembers the positions of records, in bounded memory; test_shard.py shows that this hides no damage."""

from pathlib import Path

import numpy as np
import pytest

from seqviews.pipeline.manifest import load_manifest
from seqviews.pipeline.shards import reader
from seqviews.pipeline.shards.reader import ShardReader
from seqviews.pipeline.shards.shard import index_shard
from seqviews.pipeline.storage.local import LocalFolder


@pytest.mark.parametrize("remembered", [6, 2])
def test_shards_are_indexed_once_while_memory_lasts(
    toy: Path, monkeypatch: pytest.MonkeyPatch, remembered: int
) -> None:
    names: list[str] = []

    def index(name: str, *arguments: object) -> object:
        names.append(Path(name).name)
        return index_shard(name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(reader, "index_shard", index)
    monkeypatch.setattr(reader, "INDEXED_RECORDS", 6 * remembered)
    manifest = load_manifest(toy / "train")
    shards = ShardReader(LocalFolder(toy / "train"), manifest.dataset.features)
    frames = np.empty(manifest.dataset.features.shape, np.uint8)

    def read_all() -> list[tuple[str, bytes]]:
        found = [shards.read(entry) for entry in manifest.shards]
        return [(shard.decode(i, frames), frames.tobytes()) for shard in found for i in range(len(shard.keys))]

    assert read_all() == read_all()
    expected = [entry.name for entry in manifest.shards]
    assert names == expected + expected[remembered:]
