"""Processes side by side: a failure is reported and ends the others."""

import sys
import time
from pathlib import Path

import pytest

from seqviews.model.reproduce import jobs
from seqviews.model.reproduce.jobs import Job, run_jobs


@pytest.fixture(autouse=True)
def code_in_place_of_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "COMMAND", [sys.executable, "-c", "import os, sys, time; exec(sys.argv[1])"])
    monkeypatch.setattr("os.cpu_count", lambda: 8)


def job(name: str, code: str, folder: Path) -> Job:
    return Job(name, [code], folder / "messages" / f"{name}.log")


def test_all_run_with_their_part_of_the_cores_and_are_waited_for(tmp_path: Path) -> None:
    ticks: list[float] = []
    code = "time.sleep(0.2); print(os.environ['OMP_NUM_THREADS'], flush=True)"
    run_jobs([job(name, code, tmp_path) for name in "abc"], 2, lambda: ticks.append(time.monotonic()), 0.05)
    assert [(tmp_path / "messages" / f"{name}.log").read_text() for name in "abc"] == ["4\n"] * 3
    assert len(ticks) > 3


def test_a_failure_is_told_by_its_last_line_and_ends_the_others(tmp_path: Path) -> None:
    started = time.monotonic()
    sleeping = f"open(r'{tmp_path}/pid', 'w').write(str(os.getpid())); time.sleep(100)"
    failing = f"\nwhile not os.path.exists(r'{tmp_path}/pid'): time.sleep(0.01)\nsys.exit('it broke')"
    with pytest.raises(ChildProcessError, match=r"the training of b failed \(all messages: .*\): it broke"):
        run_jobs([job("a", sleeping, tmp_path), job("the training of b", failing, tmp_path)], 2, lambda: None, 1.0)
    assert time.monotonic() - started < 60
