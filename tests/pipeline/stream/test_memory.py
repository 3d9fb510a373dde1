"""The stream's memory: the same after many epochs, and for a data set ten times as large."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import streaming_memory
from object_storage import Storage
from toy_clips import ToyClips

from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.storage.folder import Cache

SHAPE = (8, 64, 64, 3)  # 96 KiB a clip


def elsewhere(split: Path | str, epochs: int, cache: Cache | None = None) -> list[float]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(streaming_memory.resident_by_epoch, split, epochs, cache).result()


@pytest.mark.slow
def test_memory_is_flat_and_independent_of_the_size(tmp_path: Path) -> None:
    """Sixty and six hundred MiB of shards of 1.4 MiB each; held at most, 4 lanes of 2 and what is read ahead."""
    for name, sources in {"small": 200, "large": 2000}.items():
        data = ToyClips(counts=(sources, 0, 0), shape=SHAPE, codec="npy")
        prepare(data, tmp_path / name, shard_sources=5, workers=2)
    small = elsewhere(tmp_path / "small" / "train", 20)
    large = elsewhere(tmp_path / "large" / "train", 2)
    assert max(small[1:]) - min(small[1:]) < 30  # the first epoch finds what the process keeps
    assert abs(max(large) - max(small)) < 50


@pytest.mark.slow
def test_memory_is_flat_over_epochs_from_a_bucket(storage: Storage) -> None:
    """Sixty MiB of shards through a cache of thirty, so that in every epoch about half of them are fetched."""
    prepare(ToyClips(counts=(200, 0, 0), shape=SHAPE, codec="npy"), storage.url, shard_sources=5, workers=2)
    storage.proxy.requests.clear()
    used = elsewhere(storage.url + "/train", 20, Cache(storage.cache.folder, 30 << 20))
    assert storage.proxy.count(r"\.tar$") > 20 * 40 / 4
    assert max(used[1:]) - min(used[1:]) < 50
