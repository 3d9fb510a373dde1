"""Preparing into a bucket, also a faulty one: the bytes of an undisturbed preparation, or one sentence."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import obstore
import pytest
from fault_proxy import EXPIRED, Fault
from object_storage import Records, Storage, check_message
from preparing_process import start
from toy_clips import ToyClips

from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.storage.bucket import Bucket
from seqviews.pipeline.storage.folder import Timeouts
from seqviews.pipeline.storage.local import LocalFolder
from seqviews.pipeline.storage.urls import open_folder
from seqviews.pipeline.stream.recordset import RecordSet
from seqviews.pipeline.stream.stream import SequenceStream

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
    assert storage.proxy.count("PUT") - puts == 5, "but asked whether manifests and descriptions were still free"


def test_streams_from_bucket_and_folder_are_equal(storage: Storage, toy: Path) -> None:
    storage.upload(toy)
    for split in ("train", "val"):
        ours = list(SequenceStream(open_folder(storage.url, cache=storage.cache) / split, 5, factors=("shade",)))
        theirs = list(SequenceStream(toy / split, 5, factors=("shade",)))
        assert [batch.keys for batch in ours] == [batch.keys for batch in theirs]
        for mine, expected in zip(ours, theirs, strict=True):
            assert (mine.x == expected.x).all()
            assert (mine.factors["shade"] == expected.factors["shade"]).all()
        remote, local = (RecordSet(f / split).batch([7, 0], ["shade"]) for f in (storage.folder(), LocalFolder(toy)))
        assert remote.keys == local.keys
        assert (remote.x == local.x).all()


def test_a_target_that_holds_something_else_is_left_alone(storage: Storage, toy: Path, tmp_path: Path) -> None:
    prepare(ToyClips(), storage.url, shard_sources=2)
    with pytest.raises(FileExistsError, match=r"holds another preparation: parameters.seed is 0, not 1; choose"):
        prepare(ToyClips(), storage.url, shard_sources=2, seed=1)
    assert storage.objects() == files(toy)
    other = replace(storage, url=storage.url + "/other")
    for folder in (other.folder(), LocalFolder(tmp_path / "other")):
        folder.put("mine.txt", b"mine", {})
        with pytest.raises(FileExistsError, match="already holds something"):
            prepare(ToyClips(), folder)
    assert other.objects() == files(tmp_path / "other") == {"mine.txt": b"mine"}


def test_a_foreign_shard_is_not_replaced(storage: Storage) -> None:
    prepare(ToyClips(), storage.url, shard_sources=5)
    for key in ("train/train-000001.tar", "train/manifest.json"):
        obstore.delete(storage.folder().store, f"{storage.folder().prefix}/{key}")
    (storage.folder() / "train").put("train-000001.tar", b"mine", {})
    with pytest.raises(FileExistsError, match=r"train-000001\.tar holds other bytes than this preparation makes"):
        prepare(ToyClips(), storage.url, shard_sources=5)
    assert storage.objects()["train/train-000001.tar"] == b"mine"


def test_http_is_read_only() -> None:
    with pytest.raises(ValueError, match=r"http://example\.org/x can only be read"):
        prepare(ToyClips(), "http://example.org/x")


TRANSIENT = {
    "503 three times": Fault("status", PUT.format(2), times=3),
    "answer lost": Fault("lost", PUT.format(2)),
    "answer of the plan lost": Fault("lost", r"PUT .*plan\.json"),
    "answer of the manifest lost": Fault("lost", r"PUT .*manifest\.json"),
    "broken off": Fault("broken", PUT.format(2), at=2000),
    "bit flipped": Fault("flip", PUT.format(2), at=2000),
    "answer stalls": Fault("stall", PUT.format(2), seconds=0.5),
    "bit of the plan flipped on its way back": Fault("flip", r"GET .*plan\.json", at=100),
}


@pytest.mark.parametrize("name", TRANSIENT)
def test_transient_faults_are_survived(storage: Storage, toy: Path, name: str) -> None:
    storage.proxy.faults = [fault := replace(TRANSIENT[name])]
    prepare(ToyClips(), target(storage), shard_sources=2)
    assert storage.objects() == files(toy)
    assert fault.fired == fault.times


SLOW = pytest.mark.slow
LASTING = [
    (Fault("status", PUT.format(2), 1e9), r"the server answered 503 SlowDown; gave up after \d+ att"),
    (Fault("flip", PUT.format(2), 1e9, at=2000), "the server answered 400 BadDigest"),
    pytest.param(Fault("broken", PUT.format(2), 1e9, 100), "the connection broke", marks=SLOW),
    pytest.param(Fault("status", PUT.format(2), 1e9, status=403, body=EXPIRED), "credentials have expired", marks=SLOW),
]


@pytest.mark.parametrize(("fault", "message"), LASTING)
def test_after_a_lasting_fault_the_next_call_resumes(storage: Storage, toy: Path, fault: Fault, message: str) -> None:
    storage.proxy.faults = [fault := replace(fault)]
    with pytest.raises(OSError, match=message) as raised:
        prepare(ToyClips(), target(storage), shard_sources=2)
    check_message(str(raised.value), f"{storage.url}/train/train-000002.tar")
    assert not [name for name in storage.objects() if name.endswith("manifest.json")]
    assert fault.fired
    storage.proxy.faults = []
    prepare(ToyClips(), target(storage), shard_sources=2)
    assert storage.objects() == files(toy)


def test_two_preparations_at_once(storage: Storage, toy: Path) -> None:
    both = [start(storage.url) for _ in range(2)]
    assert [process.communicate()[1] for process in both] == [b"", b""]
    assert [process.returncode for process in both] == [0, 0]
    assert storage.objects() == files(toy)


@pytest.mark.parametrize(("preparations", "kills"), [(1, 1), pytest.param(5, 4, marks=pytest.mark.slow)])
def test_kill_9_at_random_moments(storage: Storage, toy: Path, preparations: int, kills: int) -> None:
    """While requests are made: each takes long enough to be under way most of the time."""
    dice = random.Random(kills)
    for number in range(preparations):
        place = replace(storage, url=f"{storage.url}/{number}")
        storage.proxy.faults = [stall := Fault("stall", r"PUT", times=1e9, seconds=0.2)]
        for _ in range(kills):
            process, wanted = start(place.url), storage.proxy.count("PUT") + dice.randrange(1, 5)
            while storage.proxy.count("PUT") < wanted:
                assert process.poll() is None, "it was killed in the middle"
                time.sleep(0.005)
            time.sleep(dice.uniform(0, 0.2))
            assert process.poll() is None, "it was killed in the middle"
            process.kill()
            process.communicate()
        assert stall.fired
        storage.proxy.faults = []
        assert start(place.url).wait() == 0
        assert place.objects() == files(toy)


def test_of_two_different_preparations_at_once_only_one_gets_the_prefix(storage: Storage) -> None:
    def start_with(seed: int) -> str:
        try:
            prepare(ToyClips(), storage.url, shard_sources=2, seed=seed)
        except FileExistsError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(2) as pool:
        empty, message = sorted(pool.map(start_with, range(2)))
    assert not empty
    assert "parameters.seed is" in message
