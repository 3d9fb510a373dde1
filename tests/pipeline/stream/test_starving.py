"""A trainer does not wait for a bucket that gives a quarter more than it needs, with room for half of the data set."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from object_storage import Storage
from toy_clips import ToyClips

from seqviews.pipeline.manifest import load_manifest
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.storage.folder import Cache, Timeouts
from seqviews.pipeline.stream.stream import SequenceStream

BATCH = 64


def waited(storage: Storage, rate: float, epochs: int) -> float:
    """The share of its time that one who takes `rate` records a second waits, after the first batch."""
    shards = load_manifest(storage.folder()).shards
    size, records = sum(shard.bytes for shard in shards), sum(shard.records for shard in shards)
    storage.proxy.bandwidth = 1.25 * rate * size / records
    folder = storage.folder(Timeouts(), Cache(storage.cache.folder, size // 2))
    stream = SequenceStream(folder, BATCH)
    waiting, begun, since = 0.0, 0.0, 0.0
    for _ in range(epochs):
        for batch in stream:
            now = time.monotonic()
            begun = begun or now
            waiting += now - since if since else 0.0
            time.sleep(len(batch.keys) / rate)
            since = time.monotonic()
    return waiting / (since - begun)


@pytest.mark.slow
def test_the_trainer_waits_less_than_2_percent(storage: Storage, tmp_path: Path) -> None:
    """Of 120 shards, 32 are mixed at a time."""
    prepare(ToyClips((960, 0, 0), (8, 16, 16, 3), "npy"), tmp_path / "data", shard_sources=8, workers=2)
    storage.upload(tmp_path / "data" / "train")
    assert waited(storage, rate=300, epochs=4) < 0.02
    assert storage.proxy.count(r"\.tar$") > 120 + 3 * 40, "the cache holds half"
