"""Fixtures for tests on object storage: a real server, SeaweedFS, behind a proxy that injects faults."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, TypeAlias

import obstore
import pytest
from fault_proxy import FaultProxy, fault_proxy
from obstore.exceptions import BaseError
from obstore.store import S3Store
from toy_clips import ToyClips

from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.storage.bucket import Bucket
from seqviews.pipeline.storage.folder import Cache, Timeouts
from seqviews.pipeline.storage.urls import open_folder
from seqviews.pipeline.stream.stream import SequenceStream

Records: TypeAlias = dict[str, bytes]
KEY, SECRET = "AKIATESTTESTTESTTEST", "wJalrXUtnFEMIK7MDENGbPxRfiCYTESTSECRETKEY"
_numbers = count()


class SeaweedFS:
    """The server, on a port of its own, with one bucket named `data`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        for attempt in range(3):  # a port may be taken between its choice and its use
            self.ports = free_ports(5)
            self.port = self.ports[0]
            try:
                self.start()
                break
            except TimeoutError:
                if attempt == 2:
                    raise

    def start(self) -> None:
        names = ("s3.port", "master.port", "volume.port", "filer.port", "admin.port")
        ports = [f"-{name}={port}" for name, port in zip(names, self.ports, strict=True)]
        quiet = ["-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-bucket=data"]
        here = [f"-dir={self.folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        command = [str(Path(sys.executable).with_name("weed")), "mini", *here, *ports, *quiet]
        environment = {**os.environ, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        with self.folder.with_suffix(".log").open("w") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        end = time.monotonic() + 40
        while not self._answers():
            if time.monotonic() > end:
                self.kill()
                raise TimeoutError(f"SeaweedFS did not start: {self.folder.with_suffix('.log').read_text()[-2000:]}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        """Whether it accepts objects: it creates the bucket some time after it opens the port."""
        where, keys = f"http://127.0.0.1:{self.port}", {"access_key_id": KEY, "secret_access_key": SECRET}
        options: Any = {"client_options": {"allow_http": True}, "retry_config": {"max_retries": 0}, **keys}
        try:
            obstore.put(S3Store("data", endpoint=where, **options), "ready", b"ready")
        except (BaseError, OSError):
            return False
        return True

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def free_ports(number: int) -> list[int]:
    """Find ports that are free, as are those 10,000 above: SeaweedFS uses both."""

    def is_free(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    ports = range(random.SystemRandom().randrange(20_000, 40_000), 45_000)
    return list(islice((port for port in ports if is_free(port) and is_free(port + 10_000)), number))


@dataclass
class Storage:
    """A prefix of the bucket for one test, and the proxy and the cache between them."""

    server: SeaweedFS
    proxy: FaultProxy
    url: str
    cache: Cache

    def folder(self, timeouts: Timeouts | None = None, cache: Cache | None = None) -> Bucket:
        found = open_folder(self.url, cache=cache or self.cache, timeouts=timeouts or Timeouts(stall=0.5, deadline=4.0))
        assert isinstance(found, Bucket)
        return found

    def upload(self, source: Path, folder: Bucket | None = None) -> None:
        """Store the files of a folder under the prefix, then reset the counts of the proxy."""
        folder = (folder or self.folder()).for_writing()
        for path in sorted(source.iterdir()):
            if path.is_dir():
                self.upload(path, folder / path.name)
            else:
                assert folder.put(path.name, path.read_bytes(), {})
        self.proxy.requests.clear()

    def objects(self) -> dict[str, bytes]:
        """The objects by name below the prefix."""
        store, prefix = self.folder().store, self.folder().prefix
        paths = [found["path"] for page in obstore.list(store, prefix) for found in page]
        return {path.removeprefix(f"{prefix}/"): bytes(obstore.get(store, path).bytes()) for path in paths}


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A running SeaweedFS."""
    server = SeaweedFS(tmp_path_factory.mktemp("seaweed"))
    yield server
    server.kill()


@pytest.fixture
def storage(seaweed: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """An empty prefix behind a fault proxy, the environment that a user would set, and an empty cache."""
    with storage_on(seaweed, tmp_path, monkeypatch) as found:
        yield found


@contextmanager
def storage_on(server: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """The same on another server."""
    with fault_proxy(server.port) as proxy:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        cache = Cache(tmp_path / "cache", 1 << 30)
        yield Storage(server, proxy, f"s3://data/{os.getpid()}-{next(_numbers)}", cache)


@pytest.fixture(scope="session")
def large_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split of six shards of about 600 kB, three pieces of a download each."""
    out = tmp_path_factory.mktemp("large") / "large"
    prepare(ToyClips((12, 0, 0), (8, 64, 64, 3), "npy"), out, shard_sources=2)
    return out / "train"


@pytest.fixture(scope="session")
def large_records(large_clips: Path) -> Records:
    """Its records, read from disk."""
    return epoch(SequenceStream(large_clips, 5))


@pytest.fixture
def stored(storage: Storage, large_clips: Path) -> Storage:
    """The same split in the bucket."""
    storage.upload(large_clips)
    return storage


def epoch(stream: SequenceStream) -> Records:
    """The records of an epoch, each of which must occur once."""
    found = [(key, x.numpy().tobytes()) for batch in stream for key, x in zip(batch.keys, batch.x, strict=True)]
    assert len(dict(found)) == len(found) == len(stream.manifest)
    return dict(found)


def stream_of(storage: Storage, stall: float = 0.5, deadline: float = 4.0) -> SequenceStream:
    return SequenceStream(storage.folder(Timeouts(stall, deadline)), 5)


def check_message(message: str, start: str) -> None:
    """An error is one sentence without secrets."""
    assert message.startswith(f"{start}: ")
    assert len(message) < 300
    assert not [part for part in ("\n", KEY, SECRET) if part in message]
