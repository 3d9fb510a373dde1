"""Reading from a real server over a proxy that fails: every record once with the right bytes, or one sentence."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fault_proxy import EXPIRED, Fault, Kind
from object_storage import KEY, SECRET, Records, SeaweedFS, Storage, epoch, storage_on, stream_of

from seqviews.pipeline.records import ShardError
from seqviews.pipeline.storage.folder import Cache

RECORD = 100_352  # bytes of an npy clip of 96 KiB and its JSON in the tar
MEMBER, HEADER = 3 * RECORD - 5000, RECORD + 100


def shard_pattern(number: int = 2) -> str:
    return rf"GET .*train-00000{number}\.tar$"


def test_one_request_a_shard_and_none_when_it_is_cached(stored: Storage, large_records: Records) -> None:
    reading = stream_of(stored)
    assert [epoch(reading) for _ in range(3)] == [large_records] * 3
    assert epoch(stream_of(stored)) == large_records
    assert stored.proxy.count(r"\.tar") == stored.proxy.count(r"GET .*\.tar$") == 6
    assert stored.proxy.requests.total() == 6 + 2, "and the manifest, once a stream"


TRANSIENT = {
    "cut inside a member": Fault("cut", at=MEMBER),
    "cut at a member boundary": Fault("cut", at=RECORD),
    "cut in a header": Fault("cut", at=HEADER),
    "cut before the first byte": Fault("cut"),
    "reset": Fault("reset", at=MEMBER),
    "reset twice": Fault("reset", at=MEMBER, times=2),
    "stall": Fault("stall", at=MEMBER, seconds=1.5),
    "503 three times": Fault("status", times=3),
    "429": Fault("status", status=429),
    "bit flipped once": Fault("flip", at=MEMBER),
    "answer lost": Fault("lost"),
    "manifest cut": Fault("cut", r"GET .*manifest\.json", at=700),
    "manifest flipped": Fault("flip", r"GET .*manifest\.json", at=700),
    "manifest 503": Fault("status", r"GET .*manifest\.json", times=3),
}
FAST = {
    "cut inside a member",
    "reset",
    "stall",
    "503 three times",
    "bit flipped once",
    "answer lost",
    "manifest flipped",
}


@pytest.mark.parametrize("name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in TRANSIENT])
def test_what_passes_is_survived(stored: Storage, large_records: Records, name: str) -> None:
    fault = replace(TRANSIENT[name])
    stored.proxy.faults = [fault]
    assert epoch(stream_of(stored)) == large_records
    assert fault.fired == fault.times


@pytest.mark.slow
def test_a_stall_of_8_seconds(stored: Storage, large_records: Records) -> None:
    fault = Fault("stall", at=MEMBER, seconds=8)
    stored.proxy.faults = [fault]
    begun = time.monotonic()
    assert epoch(stream_of(stored, stall=5.0, deadline=60.0)) == large_records
    assert fault.fired == 1
    assert time.monotonic() - begun < 8


LASTING = {
    "503 for ever": (Fault("status", shard_pattern(), times=1e9), r"the server answered 503 SlowDown; gave up after"),
    "stalls for ever": (
        Fault("stall", shard_pattern(), 1e9, MEMBER, 2.0),
        r"the server stopped responding; gave up after",
    ),
    "resets for ever": (Fault("reset", shard_pattern(), 1e9), r"the connection broke; gave up after \d+ attempts"),
    "bit flipped for ever": (Fault("flip", shard_pattern(), 1e9, 700), r"its SHA-256 is not the manifest's"),
    "missing": (Fault("status", shard_pattern(), 1e9, status=404, body=b""), r"does not exist"),
    "expired token": (Fault("status", shard_pattern(), 1e9, status=403, body=EXPIRED), r"the credentials have expired"),
    "expired token as AWS has it": (
        Fault("status", shard_pattern(), 1e9, status=400, body=EXPIRED),
        r"the credentials have expired",
    ),
    "access denied": (Fault("status", shard_pattern(), 1e9, status=403), r"access was denied \(403 SlowDown\)"),
}
FAST_LASTING = {"503 for ever", "bit flipped for ever", "missing", "expired token"}


@pytest.mark.parametrize("name", [n if n in FAST_LASTING else pytest.param(n, marks=pytest.mark.slow) for n in LASTING])
def test_what_lasts_ends_with_one_sentence(stored: Storage, name: str) -> None:
    given, told = LASTING[name]
    fault = replace(given)
    stored.proxy.faults = [fault]
    begun = time.monotonic()
    with pytest.raises(ShardError, match=told) as raised:
        epoch(stream_of(stored, deadline=1.0))
    assert fault.fired >= 1
    assert time.monotonic() - begun < 20, "the deadline is one second, and 20 more for a megabyte"
    check_sentence(str(raised.value), stored, "train-000002.tar")


def check_sentence(told: str, storage: Storage, shard: str) -> None:
    assert told.startswith(f"{storage.url}/{shard}: ")
    assert "\n" not in told
    assert len(told) < 300
    assert KEY not in told
    assert SECRET not in told


@pytest.mark.parametrize(("size", "told"), [(0, "has 0 bytes"), (300_000, "has 300000 bytes, the manifest says")])
def test_a_truncated_object(stored: Storage, size: int, told: str) -> None:
    data = stored.objects()["train-000002.tar"]
    overwrite(stored, data[:size])
    with pytest.raises(ShardError, match=told) as raised:
        epoch(stream_of(stored))
    check_sentence(str(raised.value), stored, "train-000002.tar")


def overwrite(storage: Storage, data: bytes) -> None:
    import obstore

    folder = storage.folder()
    obstore.put(folder.store, f"{folder.prefix}/train-000002.tar", data)


def test_an_object_replaced_while_it_is_read(stored: Storage, large_records: Records) -> None:
    """By the same, it is read again from its beginning; by another, it is refused."""
    data = bytearray(stored.objects()["train-000002.tar"])
    data[550_000] ^= 1
    fault = Fault("cut", shard_pattern(), at=MEMBER)
    swap = Fault("call", shard_pattern(), at=MEMBER, action=lambda: overwrite(stored, bytes(data)))
    stored.proxy.faults = [swap, fault]
    try:
        assert epoch(stream_of(stored)) == large_records, "the server went on with the old one"
    except ShardError as error:
        check_sentence(str(error), stored, "train-000002.tar")
    assert swap.fired == 1
    reading = Storage(stored.server, stored.proxy, stored.url, Cache(stored.cache.folder / "other"))
    with pytest.raises(ShardError, match="SHA-256") as raised:
        epoch(stream_of(reading))
    check_sentence(str(raised.value), stored, "train-000002.tar")


def test_a_download_goes_on_where_it_was_cut_only_on_the_same_object(stored: Storage, large_records: Records) -> None:
    fault = Fault("cut", shard_pattern(), at=600_000)
    stored.proxy.faults = [fault]
    assert epoch(stream_of(stored)) == large_records
    assert stored.proxy.sent < 1.1 * sum(map(len, stored.objects().values())), "it went on"
    other = replace(stored, cache=Cache(stored.cache.folder / "other"))
    copy = bytearray(stored.objects()["train-000002.tar"])
    copy[5000] ^= 1
    replaced = Fault("cut", shard_pattern(), at=600_000, action=lambda: overwrite(stored, bytes(copy)))
    stored.proxy.faults = [replaced]
    with pytest.raises(ShardError, match=r"SHA-256|replaced"):
        epoch(stream_of(other))
    assert fault.fired == replaced.fired == 1


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in range(1, 200))])
def test_mixes_of_what_passes(stored: Storage, large_records: Records, seed: int) -> None:
    dice = random.Random(seed)
    kinds: tuple[Kind, ...] = ("cut", "reset", "stall", "flip", "status", "lost")
    faults = [
        Fault(
            dice.choice(kinds), shard_pattern(dice.randrange(6)), dice.choice([1, 1, 2]), dice.randrange(600_000), 0.7
        )
        for _ in range(dice.randrange(1, 8))
    ]
    damage = dict.fromkeys(range(6), 0.0)
    for fault in faults:
        number = int(fault.pattern[-8])
        if fault.kind == "flip" and damage[number] + fault.times > 2:
            fault.kind = "cut"  # the third damage of a shard is taken for one that lasts
        damage[number] += fault.times if fault.kind == "flip" else 0
    stored.proxy.faults = faults
    assert epoch(stream_of(stored, deadline=20.0)) == large_records
    assert all(fault.fired == fault.times for fault in faults)


def test_a_server_that_is_killed_and_started_again(
    large_clips: Path, large_records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = SeaweedFS(tmp_path / "seaweed")
    restarted: list[threading.Thread] = []

    def restart() -> None:
        server.kill()
        time.sleep(0.5)
        server.start()

    def begin() -> None:
        restarted.append(threading.Thread(target=restart))
        restarted[0].start()

    with storage_on(server, tmp_path, monkeypatch) as storage:
        storage.upload(large_clips)
        fault = Fault("call", at=MEMBER, action=begin)
        storage.proxy.faults = [fault]
        assert epoch(stream_of(storage, deadline=60.0)) == large_records
        restarted[0].join()
        assert fault.fired == 1
    server.kill()


def test_wrong_secret(stored: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong" + SECRET)
    with pytest.raises(ShardError, match=r"manifest\.json: access was denied \(403 SignatureDoesNotMatch\)") as raised:
        stream_of(stored)
    assert SECRET not in str(raised.value)


def test_no_server(stored: Storage) -> None:
    stored.proxy.close()
    with pytest.raises(ShardError, match=r"manifest\.json: no connection to the server; gave up after \d+ attempts"):
        stream_of(stored, deadline=0.5)
