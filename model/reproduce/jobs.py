"""Processes of `seqviews`, side by side, that end with this one."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

END_WITH_PARENT = """
import os, signal, threading

def end_with_parent():
    os.read(0, 1)  # until the parent ends, however it does
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end_with_parent, daemon=True).start()
"""
COMMAND = [sys.executable, "-c", END_WITH_PARENT + "from seqviews.tools.cli import main; main()"]
LINES = 5  # of a process's messages that an error shows


@dataclass(frozen=True, slots=True)
class Job:
    """A tool with its arguments.

    Attributes:
        name: What it does, for messages.
        arguments: The tool and its arguments.
        log: File that its messages are added to.
    """

    name: str
    arguments: Sequence[str]
    log: Path


def run_jobs(jobs: Sequence[Job], side_by_side: int, threads: int, tick: Callable[[], None], seconds: float) -> None:
    """Run processes, some at a time. They end with this one, however it ends.

    Args:
        jobs: In the order in which they start.
        side_by_side: How many run at a time.
        threads: Of each, for torch.
        tick: Called every so often.
        seconds: How often.

    Raises:
        ChildProcessError: If one fails; the others are ended.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    running: list[subprocess.Popen[bytes]] = []
    lock, ended = Lock(), False

    def run(job: Job) -> None:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log:
            with lock:
                if ended:
                    return
                options: Any = {"env": environment, "stdin": subprocess.PIPE, "stdout": log, "stderr": log}
                options["close_fds"] = False  # locks are inherited
                process: subprocess.Popen[bytes] = subprocess.Popen([*COMMAND, *job.arguments], **options)
                running.append(process)
            code = process.wait()
        if code and not ended:
            lines = job.log.read_text(errors="replace").splitlines()[-LINES:]
            raise ChildProcessError(f"{job.name} failed (all messages: {job.log}): {lines[-1] if lines else code}")

    with ThreadPoolExecutor(side_by_side) as pool:
        waiting: set[Future[None]] = {pool.submit(run, job) for job in jobs}
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=seconds, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                tick()
        finally:
            with lock:
                ended = True
                for process in running:
                    process.terminate()
