"""The cache: shared by processes, bounded, intact after kill -9; an error explains why it cannot be written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import lock_descriptor
from object_storage import Records, Storage, epoch, stream_of

from seqviews.pipeline.records import ShardError
from seqviews.pipeline.storage.folder import Cache
from seqviews.pipeline.stream.recordset import RecordSet
from seqviews.pipeline.stream.stream import SequenceStream

READER = """
import sys
from pathlib import Path
from seqviews.pipeline.storage.folder import Cache, Timeouts
from seqviews.pipeline.storage.urls import open_folder
from seqviews.pipeline.stream.stream import SequenceStream
folder = open_folder(sys.argv[1], cache=Cache(Path(sys.argv[2])), timeouts=Timeouts(0.5, 20.0))
print(sum(len(batch.keys) for batch in SequenceStream(folder, 5)), flush=True)
"""


def reader(storage: Storage) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", READER, storage.url, str(storage.cache.folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


def test_processes_share_the_cache_and_each_shard_is_fetched_once(stored: Storage) -> None:
    readers = [reader(stored) for _ in range(3)]
    assert [process.communicate()[0] for process in readers] == ["36\n"] * 3
    assert stored.proxy.count(r"\.tar$") == 6


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_kill_9_while_shards_are_fetched(stored: Storage, large_records: Records, times: int) -> None:
    stored.proxy.bandwidth = 1e6
    for number in range(times):
        process = reader(stored)
        while stored.proxy.count(r"\.tar$") <= number:
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert list(stored.cache.folder.glob("*.part")), "it was killed in the middle of one"
    stored.proxy.bandwidth = float("inf")
    assert epoch(stream_of(stored)) == large_records
    assert not list(stored.cache.folder.glob("*.part"))


def test_a_full_disk_and_one_that_is_read_only(stored: Storage, small_disk: Path) -> None:
    full = replace(stored, cache=Cache(small_disk / "cache"))
    with pytest.raises(ShardError, match=r"cannot be used \(No space left on device\): make room") as raised:
        epoch(stream_of(full))
    assert re.match(rf"{stored.url}/train-00000\d\.tar: the cache {small_disk}/cache ", str(raised.value))
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    while subprocess.run(remount, capture_output=True).returncode:
        time.sleep(0.05)  # the other downloads end in their own time
    with pytest.raises(ShardError, match=r"cannot be used \(Read-only file system\)"):
        stream_of(replace(stored, cache=Cache(small_disk / "other")))


def test_the_cache_stays_below_its_bound_and_must_hold_the_windows(stored: Storage, large_records: Records) -> None:
    size = 1_300_000
    small = replace(stored, cache=Cache(stored.cache.folder, size))
    with pytest.raises(ValueError, match=r"may take 1\.3 MB, and the windows of s3://.* take up to 3\.6 MB"):
        stream_of(small)
    reading = SequenceStream(small.folder(), 5, lanes=2, window=1)
    with watched(stored.cache.folder) as sizes:
        for _ in range(10):
            assert epoch(reading) == large_records
    assert len(sizes) > 100
    assert 600_000 < max(sizes) <= size


def test_a_shard_that_is_waited_for_takes_the_room_of_those_read_next(stored: Storage) -> None:
    """A cache of two shards, full of two that no thread reads yet."""
    records = RecordSet(replace(stored, cache=Cache(stored.cache.folder, 1_300_000)).folder())
    records.prefetcher.prefetch_now(records.shards[2:4])
    while len(list(stored.cache.folder.glob("*.tar"))) < 2:
        time.sleep(0.01)
    for shard in range(6):
        assert records.read(shard).name.endswith(f"train-{shard:06}.tar")


@contextmanager
def watched(folder: Path) -> Iterator[list[int]]:
    """The sizes of a cache over time; its lock keeps others from evicting files during a measurement."""
    sizes: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.001):
            with (folder / "lock").open("ab") as lock:
                lock_descriptor(lock.fileno())
                size = 0
                for path in folder.iterdir():
                    with suppress(FileNotFoundError):
                        size += path.stat().st_size
            sizes.append(size)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield sizes
    finally:
        over.set()
        watcher.join()


def test_a_damaged_cache_entry_is_fetched_again(stored: Storage, large_records: Records) -> None:
    reading = stream_of(stored)
    assert epoch(reading) == large_records
    entry = min(stored.cache.folder.glob("*.tar"))
    data = bytearray(entry.read_bytes())
    data[5000] ^= 1
    entry.write_bytes(data)
    assert epoch(reading) == large_records
    assert epoch(stream_of(stored)) == large_records
    assert stored.proxy.count(r"\.tar$") == 7


def test_ranks_fetch_only_their_lanes(stored: Storage) -> None:
    """Six shards in two lanes of three, and a batch of four: two for each rank."""
    fetched = []
    for rank in range(2):
        cache = Cache(stored.cache.folder / str(rank))
        part = SequenceStream(stored.folder(cache=cache), 4, lanes=2, window=1, rank=rank, ranks=2)
        assert sum(len(batch.keys) for batch in part) == 18
        fetched.append({path for (_, path), n in stored.proxy.requests.items() if path.endswith(".tar")})
        stored.proxy.requests.clear()
    assert [len(shards) for shards in fetched] == [3, 3]
    assert not fetched[0] & fetched[1]
