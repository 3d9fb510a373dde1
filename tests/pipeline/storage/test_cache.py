"""The cache: shared by processes, bounded, intact after kill -9; an error explains why it cannot be written."""

import os
import re
import shutil
import signal
import socket
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


def test_a_change_that_keeps_size_time_and_inode_is_found(stored: Storage, large_records: Records) -> None:
    reading = stream_of(stored)
    assert epoch(reading) == large_records
    for path in stored.cache.folder.glob("*.tar"):
        before = path.stat()
        with path.open("r+b") as file:
            file.seek(5000)
            file.write(b"x" * 50)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert epoch(reading) == large_records


def test_the_cache_is_of_one_user(stored: Storage, tmp_path: Path) -> None:
    """Root, as whom this runs, may do all, so the permissions are looked at."""
    old = os.umask(0)
    try:
        epoch(stream_of(stored))
    finally:
        os.umask(old)
    folder = stored.cache.folder
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    for number, (mode, refused) in enumerate([(0o777, True), (0o1777, True), (0o770, True), (0o755, False)]):
        other = tmp_path / str(number)
        other.mkdir()
        other.chmod(mode)
        os.chown(other, 12345, 12345)
        found = replace(stored, cache=Cache(other))
        if refused:
            with pytest.raises(ShardError, match="is another user's and others may write to it: choose a folder"):
                stream_of(found)
        else:
            stream_of(found)


def plant(path: Path, kind: str, victim: Path) -> None:
    """Put something into the cache that is no file of this user."""
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "dangling link":
        path.symlink_to(victim.with_name("nothing"))
    elif kind == "hard link":
        path.hardlink_to(victim)
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as unix:
            os.chdir(path.parent)  # its address must be short
            unix.bind(path.name)
    else:
        path.write_bytes(victim.read_bytes())
        os.chown(path, 12345, 12345)


@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "FIFO", "socket", "another user's file"])
def test_what_others_plant_is_neither_followed_nor_waited_for(
    stored: Storage, large_records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, victim = stored.cache.folder, tmp_path / "victim"
    folder.mkdir()
    folder.chmod(0o777)
    victim.write_bytes(b"mine" * 1000)
    shards = [shard.sha256 for shard in RecordSet(stored.folder(cache=Cache(tmp_path / "x"))).shards]
    names = [f"{sha256}{end}" for sha256, end in zip(shards, [".part", ".tar"] * 3, strict=True)]
    for name in ["lock", "a.part", "b.tar", *names]:
        plant(folder / name, kind, victim)
    found: list[Records] = []
    reader = threading.Thread(target=lambda: found.append(epoch(stream_of(stored))), daemon=True)
    reader.start()
    reader.join(20)
    assert found == [large_records]
    assert victim.read_bytes() == b"mine" * 1000
    assert not (tmp_path / "nothing").exists()


def test_a_cache_that_is_removed_meanwhile(stored: Storage) -> None:
    reading = stream_of(stored)
    shutil.rmtree(stored.cache.folder)
    with pytest.raises(
        ShardError, match=r"\(No such file or directory\): it is not there, or was removed during the run"
    ):
        epoch(reading)


def test_a_folder_in_the_place_of_a_shard(stored: Storage) -> None:
    reading = stream_of(stored)
    (stored.cache.folder / "a.part").mkdir()
    with pytest.raises(ShardError, match=r"\(Is a directory\): remove .*a\.part"):
        epoch(reading)
