"""Processes side by side: a failure is reported and ends the others."""

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seqviews.model.reproduce import jobs
from seqviews.model.reproduce.jobs import Job, run_jobs


@pytest.fixture(autouse=True)
def code_in_place_of_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        jobs, "COMMAND", [sys.executable, "-c", jobs.END_WITH_PARENT + "import sys, time; exec(sys.argv[1])"]
    )


def job(name: str, code: str, folder: Path) -> Job:
    return Job(name, [code], folder / "messages" / f"{name}.log")


def test_all_run_with_their_threads_and_are_waited_for(tmp_path: Path) -> None:
    ticks: list[float] = []
    code = "time.sleep(0.2); print(os.environ['OMP_NUM_THREADS'], flush=True)"
    run_jobs([job(name, code, tmp_path) for name in "abc"], 2, 4, lambda: ticks.append(time.monotonic()), 0.05)
    assert [(tmp_path / "messages" / f"{name}.log").read_text() for name in "abc"] == ["4\n"] * 3
    assert len(ticks) > 3


def test_a_failure_is_told_by_its_last_line_and_ends_the_others(tmp_path: Path) -> None:
    started = time.monotonic()
    sleeping = f"open(r'{tmp_path}/pid', 'w').write(str(os.getpid())); time.sleep(100)"
    failing = f"\nwhile not os.path.exists(r'{tmp_path}/pid'): time.sleep(0.01)\nsys.exit('it broke')"
    with pytest.raises(ChildProcessError, match=r"the training of b failed \(all messages: .*\): it broke"):
        run_jobs([job("a", sleeping, tmp_path), job("the training of b", failing, tmp_path)], 2, 1, lambda: None, 1.0)
    assert time.monotonic() - started < 60


def test_a_killed_process_takes_its_own_with_it(tmp_path: Path) -> None:
    sleeping = f"open(r'{tmp_path}/pid', 'w').write(str(os.getpid())); time.sleep(100)"
    code = (
        "import sys\nfrom pathlib import Path\nfrom seqviews.model.reproduce import jobs\n"
        "jobs.COMMAND = [sys.executable, '-c', jobs.END_WITH_PARENT + 'import sys, time; exec(sys.argv[1])']\n"
        f"job = jobs.Job('a', [{sleeping!r}], Path({str(tmp_path / 'log')!r}))\n"
        "jobs.run_jobs([job, job], 1, 1, lambda: None, 1.0)"
    )
    held, inherited = os.pipe()
    parent = subprocess.Popen([sys.executable, "-c", code], pass_fds=[inherited])
    os.close(inherited)
    while not (tmp_path / "pid").is_file():
        assert parent.poll() is None
        time.sleep(0.01)
    assert not select.select([held], [], [], 0.5)[0]
    parent.kill()
    parent.wait()
    assert select.select([held], [], [], 20)[0], "the process that it had started lives"
    os.close(held)
