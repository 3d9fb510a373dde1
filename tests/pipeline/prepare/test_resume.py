"""A preparation that is ended at any moment and started again ends with the bytes of one that was left alone."""

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
from collections.abc import Iterator
from pathlib import Path
from toy_clips import ToyClips
from seqviews.pipeline.prepare.write import prepare
if __name__ == "__main__":
    prepare(ToyClips(counts=({sources}, 6, 6), shape=(8, 64, 64, 3)), Path(sys.argv[1]), shard_sources=2, workers=2)
"""
MANY = 60


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preparation in a process of its own, with two workers; started with -c it could not spawn them."""
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


def kill_at_random_moments(script: Path, out: Path, times: int, whole: float, seed: int) -> None:
    """Start and kill until `times` have been killed; what was finished must stay the same file."""
    moments = random.Random(seed)
    for _ in range(times):
        process = start(script, out)
        time.sleep(moments.uniform(0, whole))
        process.kill()
        process.wait()
        time.sleep(0.1)  # its workers notice
        before = finished(out)
        moments_later = start(script, out)
        time.sleep(moments.uniform(0, whole))
        moments_later.kill()
        moments_later.wait()
        assert {name: kept for name, kept in finished(out).items() if name in before} == before


@pytest.mark.parametrize("times", [2, pytest.param(30, marks=pytest.mark.slow)])
def test_kill_9_at_random_moments(script: Path, undisturbed: dict[str, str], tmp_path: Path, times: int) -> None:
    out = tmp_path / "out"
    begun = time.monotonic()
    assert start(script, tmp_path / "timed").wait() == 0
    whole = time.monotonic() - begun
    kill_at_random_moments(script, out, times, whole, seed=times)
    before = finished(out)
    assert start(script, out).wait() == 0
    assert digests(out) == undisturbed == digests(tmp_path / "timed")
    assert {name: kept for name, kept in finished(out).items() if name in before} == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_within_two_seconds(script: Path, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out"
    tool = tmp_path / "tool.py"
    tool.write_text(
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's & ignores it
        f"import runpy, sys\nsys.argv = ['x', {str(out)!r}]\nfrom seqviews.tools.run import run_tool, tool_parser\n"
        "def main(arguments):\n    runpy.run_path(SCRIPT, run_name='__main__')\n    return {}\n".replace(
            "SCRIPT", repr(str(script))
        )
        + "if __name__ == '__main__':\n    run_tool(main, tool_parser('x'), [])\n"
    )
    process = start(tool, out)
    while not finished(out):
        time.sleep(0.02)
    begun = time.monotonic()
    process.send_signal(number)
    _, told = process.communicate(timeout=10)
    assert time.monotonic() - begun < 2
    assert process.returncode == 128 + number
    assert told.decode().splitlines()[-1].endswith(": stopped")
    assert not list(out.rglob("manifest.json"))
    assert not [p for p in out.rglob(".*") if p.suffix != ".json"], "a half-written file was left"


def test_other_arguments_are_refused_by_name(tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(ToyClips(), out, shard_sources=2)
    before = digests(out)
    with pytest.raises(FileExistsError, match=r"parameters\.seed is 0, not 1"):
        prepare(ToyClips(), out, shard_sources=2, seed=1)
    with pytest.raises(FileExistsError, match=r"dataset\.features\.codec is webp, not png"):
        prepare(ToyClips(codec="png"), out, shard_sources=2)
    with pytest.raises(FileExistsError, match=r"sources\.train is"):
        prepare(ToyClips(counts=(13, 3, 3)), out, shard_sources=2)
    assert digests(out) == before


def test_the_same_call_again_changes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    manifests = prepare(ToyClips(), out, shard_sources=2)
    before, files = digests(out), finished(out)
    assert prepare(ToyClips(), out, shard_sources=2, workers=2) == manifests
    assert (digests(out), finished(out)) == (before, files)


def test_a_finished_shard_that_was_damaged_is_written_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(ToyClips(), out, shard_sources=2)
    before = digests(out)
    shard = out / "train" / "train-000001.tar"
    data = bytearray(shard.read_bytes())
    data[700] ^= 1
    shard.write_bytes(data)
    prepare(ToyClips(), out, shard_sources=2)
    assert digests(out) == before


def test_two_at_once_are_refused(script: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(script, out)
    while not finished(out):
        time.sleep(0.02)
    second = start(script, out)
    _, told = second.communicate()
    process.kill()
    assert second.returncode == 1
    assert "another preparation is writing to" in told.decode()


def test_a_full_disk_is_an_error_and_more_room_ends_it(
    script: Path, undisturbed: dict[str, str], small_disk: Path
) -> None:
    out = small_disk / "out"
    process = start(script, out)
    _, told = process.communicate()
    assert process.returncode == 1
    assert "No space left on device" in told.decode().splitlines()[-1]
    before = finished(out)
    assert before
    assert not list(out.rglob("manifest.json"))
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert start(script, out).wait() == 0
    assert digests(out) == undisturbed
    assert {name: kept for name, kept in finished(out).items() if name in before} == before
