"""Reading from a real server through a faulty proxy: every record once with the right bytes, or one sentence."""

import random
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import obstore
import pytest
from fault_proxy import EXPIRED, Fault, Kind
from object_storage import SECRET, Records, SeaweedFS, Storage, check_message, epoch, storage_on, stream_of

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
    "reset": Fault("reset", at=MEMBER),
    "stall": Fault("stall", at=MEMBER, seconds=1.5),
    "503 three times": Fault("status", times=3),
    "bit flipped once": Fault("flip", at=MEMBER),
    "answer lost": Fault("lost"),
    "manifest flipped": Fault("flip", r"GET .*manifest\.json", at=700),
}
MORE_TRANSIENT = {
    "cut at a member boundary": Fault("cut", at=RECORD),
    "cut in a header": Fault("cut", at=HEADER),
    "cut before the first byte": Fault("cut"),
    "reset twice": Fault("reset", at=MEMBER, times=2),
    "429": Fault("status", status=429),
    "manifest cut": Fault("cut", r"GET .*manifest\.json", at=700),
    "manifest 503": Fault("status", r"GET .*manifest\.json", times=3),
}


def cases(fast: dict[str, Any], slow: dict[str, Any]) -> list[Any]:
    slow_cases = [pytest.param(case, id=name, marks=pytest.mark.slow) for name, case in slow.items()]
    return [*(pytest.param(case, id=name) for name, case in fast.items()), *slow_cases]


@pytest.mark.parametrize("fault", cases(TRANSIENT, MORE_TRANSIENT))
def test_transient_faults_are_survived(stored: Storage, large_records: Records, fault: Fault) -> None:
    stored.proxy.faults = [fault := replace(fault)]
    assert epoch(stream_of(stored)) == large_records
    assert fault.fired == fault.times


def forever(kind: Kind, **options: Any) -> Fault:
    return Fault(kind, shard_pattern(), times=1e9, **options)


LASTING = {
    "503": (forever("status"), r"the server answered 503 SlowDown; gave up after"),
    "flips": (forever("flip", at=700), r"its SHA-256 is not the manifest's"),
    "missing": (forever("status", status=404, body=b""), r"does not exist"),
    "expired token": (forever("status", status=403, body=EXPIRED), r"the credentials have expired"),
}
MORE_LASTING = {
    "stalls": (forever("stall", at=MEMBER, seconds=2.0), r"the server stopped responding; gave up after"),
    "resets": (forever("reset"), r"the connection broke; gave up after \d+ attempts"),
    "expired token of AWS": (forever("status", status=400, body=EXPIRED), r"the credentials have expired"),
    "access denied": (forever("status", status=403), r"access was denied \(403 SlowDown\)"),
}


@pytest.mark.parametrize("case", cases(LASTING, MORE_LASTING))
def test_lasting_faults_end_with_one_sentence(stored: Storage, case: tuple[Fault, str]) -> None:
    stored.proxy.faults = [fault := replace(case[0])]
    start = time.monotonic()
    with pytest.raises(ShardError, match=case[1]) as raised:
        epoch(stream_of(stored, deadline=1.0))
    assert fault.fired >= 1
    assert time.monotonic() - start < 20, "the deadline is one second, and 20 more for a megabyte"
    check_message(str(raised.value), f"{stored.url}/train-000002.tar")


@pytest.mark.parametrize(("size", "message"), [(0, "has 0 bytes"), (300_000, "has 300000 bytes, the manifest says")])
def test_a_truncated_object(stored: Storage, size: int, message: str) -> None:
    overwrite(stored, stored.objects()["train-000002.tar"][:size])
    with pytest.raises(ShardError, match=message) as raised:
        epoch(stream_of(stored))
    check_message(str(raised.value), f"{stored.url}/train-000002.tar")


def overwrite(storage: Storage, data: bytes) -> None:
    folder = storage.folder()
    obstore.put(folder.store, f"{folder.prefix}/train-000002.tar", data)


def test_a_download_resumes_where_it_was_cut_only_on_the_same_object(stored: Storage, large_records: Records) -> None:
    stored.proxy.faults = [fault := Fault("cut", shard_pattern(), at=600_000)]
    assert epoch(stream_of(stored)) == large_records
    assert stored.proxy.sent < 1.1 * sum(map(len, stored.objects().values())), "it resumed"
    copy = bytearray(stored.objects()["train-000002.tar"])
    copy[5000] ^= 1
    replaced = Fault("cut", shard_pattern(), at=600_000, action=lambda: overwrite(stored, bytes(copy)))
    stored.proxy.faults = [replaced]
    with pytest.raises(ShardError, match=r"SHA-256|replaced") as raised:
        epoch(stream_of(replace(stored, cache=Cache(stored.cache.folder / "other"))))
    check_message(str(raised.value), f"{stored.url}/train-000002.tar")
    assert fault.fired == replaced.fired == 1


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in range(1, 200))])
def test_mixes_of_transient_faults(stored: Storage, large_records: Records, seed: int) -> None:
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
            fault.kind = "cut"  # the third damage of a shard counts as lasting
        damage[number] += fault.times if fault.kind == "flip" else 0
    stored.proxy.faults = faults
    assert epoch(stream_of(stored, deadline=20.0)) == large_records
    assert all(fault.fired == fault.times for fault in faults)


def test_a_server_that_is_killed_and_restarted(
    large_clips: Path, large_records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = SeaweedFS(tmp_path / "seaweed")

    def restart() -> None:
        server.kill()
        time.sleep(0.5)
        server.start()

    restarting = threading.Thread(target=restart)
    with storage_on(server, tmp_path, monkeypatch) as storage:
        storage.upload(large_clips)
        storage.proxy.faults = [fault := Fault("call", at=MEMBER, action=restarting.start)]
        assert epoch(stream_of(storage, deadline=60.0)) == large_records
        restarting.join()
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
