"""A training in a process of its own, which tests kill and start again, with a log of the records that it saw."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
import yaml
from tiny_training import TINY

SCRIPT = """
import json, sys
import torch
from lightning import Callback
from seqviews.model import training
from seqviews.tools import train

training.LOG_EVERY, training.CHECKPOINT_EVERY, train.VALIDATE_EVERY = 5, 10, 10
torch.set_num_threads(1)

class Seen(Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        with open(sys.argv[1], "a") as file:
            file.write(json.dumps([trainer.global_step, batch.epoch, batch.keys]) + "\\n")

parser = train.make_parser()
arguments = parser.parse_args(sys.argv[2:])
train.start_training(arguments, parser, [Seen()])
"""
STEPS = 120
"""Of three batches an epoch, so that checkpoints fall on every place in an epoch."""


class Training:
    """The same training, started as often as one likes, in a folder of its own."""

    def __init__(self, folder: Path, data: Path | str) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "script.py").write_text(SCRIPT)
        (folder / "tiny.yaml").write_text(yaml.safe_dump({**TINY, "max_clips": STEPS * 12}))
        self.run, self.seen = folder / "run", folder / "seen"
        self._command = [sys.executable, str(folder / "script.py"), str(self.seen)]
        self._command += ["--config", str(folder / "tiny.yaml"), "--data", str(data), "--out", str(self.run)]

    def start(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        return subprocess.Popen(
            [*self._command, "--resume"], env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL
        )

    @property
    def log(self) -> bytes:
        return (self.run / "log" / "metrics.csv").read_bytes()

    def history(self) -> list[tuple[int, int, list[str]]]:
        """What the surviving history saw: of steps that were done again, the last time."""
        whole = [line for line in self.seen.read_text().splitlines(keepends=True) if line.endswith("]\n")]
        last = {step: (step, epoch, keys) for step, epoch, keys in map(json.loads, whole)}
        return [last[step] for step in sorted(last)]


def weights(training: Training) -> dict[str, torch.Tensor]:
    state = torch.load(training.run / "checkpoints" / "last.ckpt", weights_only=True)
    return dict(state["state_dict"])
