"""Preparing into a bucket, also one that fails: the bytes of an undisturbed preparation, or one sentence."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fault_proxy import EXPIRED, Fault
from object_storage import KEY, SECRET, Records, Storage
from toy_clips import ToyClips

from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.storage.bucket import Bucket
from seqviews.pipeline.storage.folder import Timeouts
from seqviews.pipeline.storage.urls import open_folder
from seqviews.pipeline.stream.stream import SequenceStream

SCRIPT = """
import sys
from toy_clips import ToyClips
from seqviews.pipeline.prepare.write import prepare
if __name__ == "__main__":
    prepare(ToyClips(), sys.argv[1], shard_sources=2, workers=2)
"""
PUT = r"PUT .*train-00000{}\.tar$"


def files(folder: Path) -> Records:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def target(storage: Storage) -> Bucket:
    return storage.folder(Timeouts(stall=1.0, deadline=2.0))


def test_the_bucket_holds_what_the_folder_does(storage: Storage, toy: Path) -> None:
    prepare(ToyClips(), storage.url, shard_sources=2, workers=2)
    assert storage.objects() == files(toy)
    puts = storage.proxy.count("PUT")
    prepare(ToyClips(), storage.url, shard_sources=2)
    assert storage.objects() == files(toy)
    assert storage.proxy.count(r"PUT .*\.tar") == 10, "the second call put no shard"
    assert storage.proxy.count("PUT") - puts == 3, "but asked whether the manifests were still free"


def test_the_stream_from_the_bucket_is_that_from_the_folder(storage: Storage, toy: Path) -> None:
    storage.upload(toy)
    for split in ("train", "val"):
        ours = list(SequenceStream(open_folder(storage.url, cache=storage.cache) / split, 5, factors=("shade",)))
        theirs = list(SequenceStream(toy / split, 5, factors=("shade",)))
        assert [batch.keys for batch in ours] == [batch.keys for batch in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert (one.x == other.x).all()
            assert (one.factors["shade"] == other.factors["shade"]).all()


def test_another_preparation_is_refused(storage: Storage, toy: Path) -> None:
    prepare(ToyClips(), storage.url, shard_sources=2)
    with pytest.raises(FileExistsError, match=r"holds another preparation: parameters.seed is 0, not 1; choose"):
        prepare(ToyClips(), storage.url, shard_sources=2, seed=1)
    assert storage.objects() == files(toy)


def test_a_prefix_that_holds_something_is_left_alone(storage: Storage) -> None:
    storage.folder().put("mine.txt", b"mine", {})
    with pytest.raises(FileExistsError, match="already holds something"):
        prepare(ToyClips(), storage.url)
    assert storage.objects() == {"mine.txt": b"mine"}


def test_http_is_refused() -> None:
    with pytest.raises(ValueError, match=r"http://example\.org/x can only be read"):
        prepare(ToyClips(), "http://example.org/x")


PASSES = {
    "503 three times": Fault("status", PUT.format(2), times=3),
    "answer lost": Fault("lost", PUT.format(2)),
    "answer of the plan lost": Fault("lost", r"PUT .*plan\.json"),
    "answer of the manifest lost": Fault("lost", r"PUT .*manifest\.json"),
    "broken off": Fault("broken", PUT.format(2), at=2000),
    "bit flipped": Fault("flip", PUT.format(2), at=2000),
    "answer stalls": Fault("stall", PUT.format(2), seconds=0.5),
    "bit of the plan flipped on its way back": Fault("flip", r"GET .*plan\.json", at=100),
}


@pytest.mark.parametrize("name", PASSES)
def test_what_passes_is_survived(storage: Storage, toy: Path, name: str) -> None:
    fault = replace(PASSES[name])
    storage.proxy.faults = [fault]
    prepare(ToyClips(), target(storage), shard_sources=2)
    assert storage.objects() == files(toy)
    assert fault.fired == fault.times


LASTS = {
    "503 for ever": (Fault("status", PUT.format(2), 1e9), r"the server answered 503 SlowDown; gave up after \d+ att"),
    "resets for ever": (Fault("broken", PUT.format(2), 1e9, 100), "the connection broke"),
    "expired": (Fault("status", PUT.format(2), 1e9, status=403, body=EXPIRED), "the credentials have expired"),
    "bit flipped for ever": (Fault("flip", PUT.format(2), 1e9, at=2000), "the server answered 400 BadDigest"),
}


SLOW = {"resets for ever", "expired"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in LASTS])
def test_what_lasts_is_one_sentence_and_the_next_call_goes_on(storage: Storage, toy: Path, name: str) -> None:
    given, told = LASTS[name]
    fault = replace(given)
    storage.proxy.faults = [fault]
    with pytest.raises(OSError, match=told) as raised:
        prepare(ToyClips(), target(storage), shard_sources=2)
    sentence = str(raised.value)
    assert sentence.startswith(f"{storage.url}/train/train-000002.tar: ")
    assert "\n" not in sentence
    assert KEY not in sentence
    assert SECRET not in sentence
    assert not [found for found in storage.objects() if found.endswith("manifest.json")]
    assert fault.fired
    storage.proxy.faults = []
    prepare(ToyClips(), target(storage), shard_sources=2)
    assert storage.objects() == files(toy)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "preparation.py"
    path.write_text(SCRIPT)
    return path


def start(script: Path, url: str) -> subprocess.Popen[bytes]:
    tests = os.pathsep.join([str(Path(__file__).parents[2] / "support"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": tests}
    return subprocess.Popen([sys.executable, str(script), url], env=environment, stderr=subprocess.PIPE)


def test_two_preparations_at_once(storage: Storage, toy: Path, script: Path) -> None:
    both = [start(script, storage.url) for _ in range(2)]
    assert [process.communicate()[1] for process in both] == [b"", b""]
    assert [process.returncode for process in both] == [0, 0]
    assert storage.objects() == files(toy)


@pytest.mark.parametrize(("preparations", "kills"), [(1, 1), pytest.param(5, 4, marks=pytest.mark.slow)])
def test_kill_9_at_random_moments(storage: Storage, toy: Path, script: Path, preparations: int, kills: int) -> None:
    """While requests are made: each is slowed down, so that most of the time one is under way."""
    dice = random.Random(kills)
    for number in range(preparations):
        place = replace(storage, url=f"{storage.url}/{number}")
        storage.proxy.faults = [stall := Fault("stall", r"PUT", times=1e9, seconds=0.2)]
        for _ in range(kills):
            process, wanted = start(script, place.url), storage.proxy.count("PUT") + dice.randrange(1, 5)
            while storage.proxy.count("PUT") < wanted:
                assert process.poll() is None, "it was killed in the middle"
                time.sleep(0.005)
            time.sleep(dice.uniform(0, 0.2))
            assert process.poll() is None, "it was killed in the middle"
            process.kill()
            process.communicate()
        assert stall.fired
        storage.proxy.faults = []
        assert start(script, place.url).wait() == 0
        assert place.objects() == files(toy)


def test_two_different_preparations_at_once_only_one_gets_the_prefix(storage: Storage) -> None:
    told: list[str] = []

    def begin(seed: int) -> None:
        try:
            prepare(ToyClips(), storage.url, shard_sources=2, seed=seed)
        except FileExistsError as error:
            told.append(str(error))

    threads = [threading.Thread(target=begin, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 1
    assert "parameters.seed is" in told[0]
