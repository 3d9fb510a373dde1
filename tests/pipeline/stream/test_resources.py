"""The stream's memory does not grow with epochs or the data set, and it fetches fast enough."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import fmean

import pytest
import streaming_memory
from object_storage import Storage
from toy_clips import ToyClips
from toy_lengths import ToyLengths

from seqviews.pipeline.features import Features
from seqviews.pipeline.manifest import load_manifest
from seqviews.pipeline.prepare.write import prepare, write_shards
from seqviews.pipeline.storage.folder import Cache, Timeouts
from seqviews.pipeline.stream.excerpt import Excerpt
from seqviews.pipeline.stream.stream import SequenceStream

SHAPE = (8, 64, 64, 3)  # 96 KiB a clip


def in_new_process(
    split: Path | str, epochs: int, cache: Cache | None = None, excerpt: Excerpt | None = None
) -> list[float]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(streaming_memory.resident_by_epoch, split, epochs, cache, excerpt).result()


@pytest.mark.slow
def test_memory_is_flat_and_independent_of_the_size(tmp_path: Path) -> None:
    """60 and 600 MiB in shards of 1.4 MiB; the stream holds 4 lanes of 2, and what it reads ahead."""
    for name, sources in {"small": 200, "large": 2000}.items():
        data = ToyClips(counts=(sources, 0, 0), shape=SHAPE, codec="npy")
        prepare(data, tmp_path / name, shard_sources=5, workers=2)
    small = in_new_process(tmp_path / "small" / "train", 20)
    large = in_new_process(tmp_path / "large" / "train", 2)
    assert max(small[1:]) - min(small[1:]) < 30  # the first epoch allocates what the process keeps
    assert abs(max(large) - max(small)) < 50


@pytest.mark.slow
@pytest.mark.parametrize("excerpt", [None, Excerpt(15, step=2)])
def test_memory_is_flat_with_records_of_different_lengths(tmp_path: Path, excerpt: Excerpt | None) -> None:
    """240 clips of 50 to 160 frames, 280 MiB decoded, padded or in excerpts.

    An epoch holds some batches of 31 MiB more or less, as the reader is ahead; one that is kept an epoch adds 300.
    """
    lengths = (50, 61, 83, 97, 128, 160)
    toy = ToyLengths(Features((160, 64, 64, 3), rate=19.0, min_frames=50).stored("jpeg"), lengths)
    sources = [f"s{number}" for number in range(40)]
    write_shards({"train": sources}, tmp_path, toy.records, toy.info, shard_sources=2, workers=2)
    used = in_new_process(tmp_path / "train", 20, excerpt=excerpt)
    assert fmean(used[10:]) - fmean(used[1:10]) < 60


@pytest.mark.slow
def test_memory_is_independent_of_the_size_of_the_shards(tmp_path: Path) -> None:
    """200 MiB in shards of 1.4 and of 28 MiB, of which 8 are mapped at a time."""
    for shard_sources in (5, 100):
        data = ToyClips(counts=(700, 0, 0), shape=SHAPE, codec="npy")
        prepare(data, tmp_path / str(shard_sources), shard_sources=shard_sources, workers=2)
    small, large = (max(in_new_process(tmp_path / str(size) / "train", 2)) for size in (5, 100))
    assert large - small < 60


@pytest.mark.slow
def test_memory_is_flat_over_epochs_from_a_bucket(storage: Storage) -> None:
    """60 MiB of shards through a cache of 30, so that about half of them are fetched in every epoch."""
    prepare(ToyClips(counts=(200, 0, 0), shape=SHAPE, codec="npy"), storage.url, shard_sources=5, workers=2)
    storage.proxy.requests.clear()
    used = in_new_process(storage.url + "/train", 20, Cache(storage.cache.folder, 30 << 20))
    assert storage.proxy.count(r"\.tar$") > 20 * 40 / 4
    assert max(used[1:]) - min(used[1:]) < 50


def waiting_fraction(storage: Storage, rate: float, epochs: int) -> float:
    """The fraction of its time that a consumer of `rate` records per second waits, after the first batch."""
    shards = load_manifest(storage.folder()).shards
    size, records = sum(shard.bytes for shard in shards), sum(shard.records for shard in shards)
    storage.proxy.bandwidth = 1.25 * rate * size / records
    folder = storage.folder(Timeouts(), Cache(storage.cache.folder, size // 2))
    stream = SequenceStream(folder, 64)
    waiting, start, since = 0.0, 0.0, 0.0
    for _ in range(epochs):
        for batch in stream:
            now = time.monotonic()
            start = start or now
            waiting += now - since if since else 0.0
            time.sleep(len(batch.keys) / rate)
            since = time.monotonic()
    return waiting / (since - start)


@pytest.mark.slow
def test_the_trainer_waits_less_than_2_percent(storage: Storage, tmp_path: Path) -> None:
    """The bucket delivers 25 % more than needed; the cache holds half of 120 shards; 32 are mixed at a time."""
    prepare(ToyClips((960, 0, 0), (8, 16, 16, 3), "npy"), tmp_path / "data", shard_sources=8, workers=2)
    storage.upload(tmp_path / "data" / "train")
    assert waiting_fraction(storage, rate=300, epochs=4) < 0.02
    assert storage.proxy.count(r"\.tar$") > 120 + 3 * 40, "the cache holds half"
