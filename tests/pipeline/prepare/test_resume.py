"""A preparation that is interrupted at any moment and repeated ends with the bytes of an uninterrupted one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy_clips import ToyClips, digests

from seqviews.pipeline.prepare.write import prepare

SCRIPT = """
import sys
from pathlib import Path
from toy_clips import ToyClips
from seqviews.pipeline.prepare.write import prepare
if __name__ == "__main__":
    prepare(ToyClips(counts=({sources}, 6, 6), shape=(8, 64, 64, 3)), Path(sys.argv[1]), shard_sources=2, workers=2)
"""
TOOL = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background of a shell ignores it
sys.argv = ["x", {out!r}]
from seqviews.tools.run import run_tool, tool_parser
def main(arguments):
    runpy.run_path({script!r}, run_name="__main__")
    return {{}}
if __name__ == "__main__":
    run_tool(main, tool_parser("x"), [])
"""
MANY = 60


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preparation in its own process, with two workers; a process started with -c cannot spawn them."""
    path = tmp_path_factory.mktemp("script") / "preparation.py"
    path.write_text(SCRIPT.format(sources=MANY))
    return path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    prepare(ToyClips(counts=(MANY, 6, 6), shape=(8, 64, 64, 3)), out, shard_sources=2)
    return digests(out)


def start(script: Path, out: Path) -> subprocess.Popen[bytes]:
    tests = str(Path(__file__).parents[2] / "support")
    return subprocess.Popen(
        [sys.executable, str(script), str(out)], env={**os.environ, "PYTHONPATH": tests}, stderr=subprocess.PIPE
    )


def finished(out: Path) -> dict[str, tuple[int, int]]:
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in out.rglob("*.tar")}


@pytest.mark.parametrize("times", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_kill_9_at_random_moments(script: Path, undisturbed: dict[str, str], tmp_path: Path, times: int) -> None:
    """Finished shards must stay the same files."""
    out, moments, before = tmp_path / "out", random.Random(times), dict[str, tuple[int, int]]()
    started = time.monotonic()
    assert start(script, tmp_path / "timed").wait() == 0
    duration = time.monotonic() - started
    for attempt in range(times + 1):
        process = start(script, out)
        if attempt < times:
            time.sleep(moments.uniform(0, duration))
            process.kill()
        assert process.wait() == 0 or attempt < times
        time.sleep(0.1)  # until its workers notice
        assert {name: kept for name, kept in finished(out).items() if name in before} == before
        before = finished(out)
    assert digests(out) == undisturbed == digests(tmp_path / "timed")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_tool_within_two_seconds(script: Path, tmp_path: Path, number: signal.Signals) -> None:
    out, tool = tmp_path / "out", tmp_path / "tool.py"
    tool.write_text(TOOL.format(out=str(out), script=str(script)))
    process = start(tool, out)
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
    """The same call changes nothing, rewrites a damaged shard, and other arguments raise an error that names them."""
    out = tmp_path / "out"
    manifests = prepare(ToyClips(), out, shard_sources=2)
    before, files = digests(out), finished(out)
    assert prepare(ToyClips(), out, shard_sources=2, workers=2) == manifests
    assert (digests(out), finished(out)) == (before, files)
    with pytest.raises(FileExistsError, match=r"parameters\.seed is 0, not 1"):
        prepare(ToyClips(), out, shard_sources=2, seed=1)
    with pytest.raises(FileExistsError, match=r"dataset\.features\.codec is webp, not png"):
        prepare(ToyClips(codec="png"), out, shard_sources=2)
    with pytest.raises(FileExistsError, match=r"sources\.train is"):
        prepare(ToyClips(counts=(13, 3, 3)), out, shard_sources=2)
    assert digests(out) == before
    shard = out / "train" / "train-000001.tar"
    data = bytearray(shard.read_bytes())
    data[700] ^= 1
    shard.write_bytes(data)
    prepare(ToyClips(), out, shard_sources=2)
    assert digests(out) == before


def test_a_second_process_is_rejected(script: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(script, out)
    while not finished(out):
        time.sleep(0.02)
    second = start(script, out)
    _, stderr = second.communicate()
    process.kill()
    assert second.returncode == 1
    assert "another preparation is writing to" in stderr.decode()


def test_a_full_disk_is_an_error_and_the_call_resumes_with_more_room(
    script: Path, undisturbed: dict[str, str], small_disk: Path
) -> None:
    out = small_disk / "out"
    process = start(script, out)
    _, stderr = process.communicate()
    assert process.returncode == 1
    assert "No space left on device" in stderr.decode().splitlines()[-1]
    before = finished(out)
    assert before
    assert not list(out.rglob("manifest.json"))
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert start(script, out).wait() == 0
    assert digests(out) == undisturbed
    assert {name: kept for name, kept in finished(out).items() if name in before} == before
