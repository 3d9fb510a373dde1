"""A preparation that is interrupted at any moment and repeated ends with the bytes of an uninterrupted one."""

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from preparing_process import DATA, start
from toy_clips import ToyClips, digests

from seqviews.pipeline.prepare.write import prepare


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    prepare(DATA["many"], out, shard_sources=2)
    return digests(out)


def finished(out: Path) -> dict[str, tuple[int, int]]:
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in out.rglob("*.tar")}


@pytest.mark.parametrize("times", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_kill_9_at_random_moments(undisturbed: dict[str, str], tmp_path: Path, times: int) -> None:
    """Finished shards must stay the same files."""
    out, moments, before = tmp_path / "out", random.Random(times), dict[str, tuple[int, int]]()
    started = time.monotonic()
    assert start(tmp_path / "timed", "many").wait() == 0
    duration = time.monotonic() - started
    for attempt in range(times + 1):
        process = start(out, "many")
        if attempt < times:
            time.sleep(moments.uniform(0, duration))
            process.kill()
        assert process.wait() == 0 or attempt < times
        time.sleep(0.1)  # until its workers notice
        assert {name: kept for name, kept in finished(out).items() if name in before} == before
        before = finished(out)
    assert digests(out) == undisturbed == digests(tmp_path / "timed")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_tool_within_two_seconds(tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out"
    process = start(out, "many", "tool")
    while not finished(out):
        time.sleep(0.02)
    started = time.monotonic()
    process.send_signal(number)
    _, stderr = process.communicate(timeout=10)
    assert time.monotonic() - started < 2
    assert process.returncode == 128 + number
    assert stderr.decode().splitlines()[-1].endswith(": stopped")
    assert not list(out.rglob("manifest.json"))
    assert not [p for p in out.rglob(".*") if p.suffix != ".json"], "a partial file was left"


def test_repeated_calls(tmp_path: Path) -> None:
    """The same call changes nothing but writes what is damaged or lost; other arguments are named in an error."""
    out = tmp_path / "out"
    manifests = prepare(ToyClips(), out, shard_sources=2)
    before, files = digests(out), finished(out)
    assert prepare(ToyClips(), out, shard_sources=2, workers=2) == manifests
    assert (digests(out), finished(out)) == (before, files)
    for other, seed, message in [
        (ToyClips(), 1, r"parameters\.seed is 0, not 1"),
        (ToyClips(codec="png"), 0, r"dataset\.features\.codec is webp, not png"),
        (ToyClips(counts=(13, 3, 3)), 0, r"sources\.train is"),
    ]:
        with pytest.raises(FileExistsError, match=message):
            prepare(other, out, shard_sources=2, seed=seed)
    assert digests(out) == before
    shard = out / "train" / "train-000001.tar"
    data = bytearray(shard.read_bytes())
    data[700] ^= 1
    shard.write_bytes(data)
    (out / "val" / "manifest.json").unlink()
    prepare(ToyClips(), out, shard_sources=2)
    assert digests(out) == before
    files.pop(shard.name)
    assert finished(out).items() >= files.items()


def test_a_second_process_is_rejected(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(out, "many")
    while not finished(out):
        time.sleep(0.02)
    second = start(out, "many")
    _, stderr = second.communicate()
    process.kill()
    assert second.returncode == 1
    assert "another preparation is writing to" in stderr.decode()


def test_a_full_disk_is_an_error_and_the_call_resumes_with_more_room(
    undisturbed: dict[str, str], small_disk: Path
) -> None:
    out = small_disk / "out"
    process = start(out, "many")
    _, stderr = process.communicate()
    assert process.returncode == 1
    assert "No space left on device" in stderr.decode().splitlines()[-1]
    before = finished(out)
    assert before
    assert not list(out.rglob("manifest.json"))
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert start(out, "many").wait() == 0
    assert digests(out) == undisturbed
    assert {name: kept for name, kept in finished(out).items() if name in before} == before
