"""A training in a process of its own, which tests kill and restart, with a log of the records that it saw."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny_training import write_config

from seqviews.model.train.runs import CHECKPOINT, LOG

SCRIPT = """
import json, os, sys
import torch
from lightning import Callback
from seqviews.model.train import trainer as training
from seqviews.tools import train
from seqviews.tools.run import run_tool

training.LOG_EVERY, training.CHECKPOINT_EVERY, training.VALIDATE_EVERY = 5, 10, 10
torch.set_num_threads(1)

class Seen(Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        with open(sys.argv[1] + str(trainer.global_rank), "a") as file:
            file.write(json.dumps([module.step, batch.epoch, batch.keys, os.getpid()]) + "\\n")

run_tool(lambda arguments: train.run(arguments, [Seen()]), train.make_parser(), sys.argv[2:])
"""
STEPS = 120
"""With a checkpoint every tenth and three batches an epoch, checkpoints fall on every position in an epoch."""


class Training:
    """The same training, started any number of times, in a folder of its own.

    Attributes:
        run: The folder of the run.
        messages: What the last start wrote to stderr.
    """

    def __init__(self, folder: Path, data: Path | str, *options: str, steps: int = STEPS) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "script.py").write_text(SCRIPT)
        config = write_config(folder, max_clips=steps * 12)
        self.run, self.messages, self._folder = folder / "run", folder / "messages", folder
        self._command = [sys.executable, str(folder / "script.py"), str(folder / "seen")]
        self._command += ["--config", config, "--data", str(data), "--out", str(self.run), *options]

    def start(self) -> subprocess.Popen[str]:
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path}
        with self.messages.open("w") as messages:
            return subprocess.Popen([*self._command, "--resume"], env=environment, stderr=messages, text=True)

    def wait_for_step(self, process: subprocess.Popen[str], rank: int = 0) -> int:
        """The process of a rank, once it has made a step since the training was started."""
        before = len(self._lines(rank))
        self._wait(process, lambda: len(self._lines(rank)) > before)
        return int(self._lines(rank)[-1][3])

    def wait_for_checkpoint(self, process: subprocess.Popen[str]) -> None:
        """Until there is one to resume from."""
        self._wait(process, (self.run / CHECKPOINT).exists)

    def _wait(self, process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
        while not happened():
            assert process.poll() is None, self.messages.read_text()
            time.sleep(0.01)

    def assert_same_end(self, other: "Training") -> None:
        """The same log, records and weights, bit for bit."""
        assert self.log == other.log
        assert self.history() == other.history()
        states = [torch.load(t.run / CHECKPOINT, weights_only=True)["state_dict"] for t in (self, other)]
        assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())

    @property
    def log(self) -> bytes:
        return (self.run / LOG).read_bytes()

    def history(self, rank: int = 0) -> list[tuple[int, int, list[str]]]:
        """What the surviving history of a rank saw: the last time, for steps that were repeated."""
        last = {step: (step, epoch, keys) for step, epoch, keys, _ in self._lines(rank)}
        return [last[step] for step in sorted(last)]

    def _lines(self, rank: int) -> list[Any]:
        seen = self._folder / f"seen{rank}"
        lines = seen.read_text().splitlines(keepends=True) if seen.exists() else []
        return [json.loads(line) for line in lines if line.endswith("]\n")]
