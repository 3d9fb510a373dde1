"""A reader's memory of where records are: it saves work, takes bounded room, and hides no damage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_clips import ToyClips

from seqviews.pipeline.manifest import Manifest, load_manifest
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.records import ShardError
from seqviews.pipeline.shards import reader
from seqviews.pipeline.shards.reader import ShardReader
from seqviews.pipeline.shards.shard import index_shard
from seqviews.pipeline.storage.local import LocalFolder


@pytest.fixture
def split(tmp_path: Path) -> tuple[Path, Manifest]:
    prepare(ToyClips(counts=(12, 0, 0)), tmp_path / "toy", shard_sources=3, workers=1)
    folder = tmp_path / "toy" / "train"
    return folder, load_manifest(LocalFolder(folder))


@pytest.fixture
def indexed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the shards whose structure was read."""
    names: list[str] = []

    def index(name: str, *arguments: object) -> object:
        names.append(Path(name).name)
        return index_shard(name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(reader, "index_shard", index)
    return names


def read_all(shards: ShardReader, manifest: Manifest) -> list[tuple[str, bytes]]:
    frames = np.empty(manifest.dataset.features.shape, np.uint8)
    found = [shards.read(entry) for entry in manifest.shards]
    return [(shard.decode(i, frames), frames.tobytes()) for shard in found for i in range(len(shard.keys))]


def test_what_is_read_again_is_not_searched_again(split: tuple[Path, Manifest], indexed: list[str]) -> None:
    folder, manifest = split
    shards = ShardReader(LocalFolder(folder), manifest.dataset.features)
    first = read_all(shards, manifest)
    assert read_all(shards, manifest) == first
    assert indexed == [entry.name for entry in manifest.shards]


def test_the_memory_is_bounded(
    split: tuple[Path, Manifest], indexed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, manifest = split
    names = [entry.name for entry in manifest.shards]
    monkeypatch.setattr(reader, "INDEXED_RECORDS", manifest.shards[0].records + manifest.shards[1].records)
    shards = ShardReader(LocalFolder(folder), manifest.dataset.features)
    first = read_all(shards, manifest)
    assert read_all(shards, manifest) == first
    assert indexed == names + names[2:]


def test_damage_between_two_reads_is_found(split: tuple[Path, Manifest]) -> None:
    folder, manifest = split
    shards, entry = ShardReader(LocalFolder(folder), manifest.dataset.features), manifest.shards[0]
    shards.read(entry)
    data = bytearray((folder / entry.name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / entry.name).write_bytes(data)
    with pytest.raises(ShardError, match="SHA-256 is not the manifest's"):
        shards.read(entry)


def test_the_same_bytes_under_another_count_are_refused(split: tuple[Path, Manifest]) -> None:
    folder, manifest = split
    shards, entry = ShardReader(LocalFolder(folder), manifest.dataset.features), manifest.shards[0]
    shards.read(entry)
    with pytest.raises(ShardError, match="the manifest says 99"):
        shards.read(replace(entry, records=99))
