"""Two real processes, started by Lightning and by torchrun, share the batches that one process sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny_training import TINY

from seqviews.pipeline.stream.stream import SequenceStream

SCRIPT = """
import json, sys
from pathlib import Path
import torch
from lightning import Callback
from seqviews.tools import train

torch.set_num_threads(1)

class Seen(Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        with Path(sys.argv[1] + str(trainer.global_rank)).open("a") as file:
            file.write(json.dumps(batch.keys) + "\\n")

parser = train.make_parser()
train.start_training(parser.parse_args(sys.argv[2:]), parser, [Seen()])
"""
LAUNCHERS = {"lightning": [sys.executable], "torchrun": ["-m", "torch.distributed.run", "--nproc-per-node", "2"]}
STEPS = 7


@pytest.mark.slow
@pytest.mark.parametrize("launcher", sorted(LAUNCHERS))
def test_two_processes_share_every_batch(toy: Path, tmp_path: Path, launcher: str) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**TINY, "batch_size": 8, "max_clips": 8 * STEPS}))
    command = [sys.executable, *LAUNCHERS[launcher]] if launcher == "torchrun" else LAUNCHERS[launcher]
    command = [*command, str(tmp_path / "script.py"), str(tmp_path / "seen")]
    command += ["--config", str(tmp_path / "tiny.yaml"), "--data", str(toy), "--out", str(tmp_path / "run")]
    command += ["--devices", "2", "--last", "pad"]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ranks = [[json.loads(line) for line in (tmp_path / f"seen{r}").read_text().splitlines()] for r in range(2)]
    stream = SequenceStream(toy / "train", 8, last="pad")
    expected = [batch.keys for _ in range(2) for batch in stream][:STEPS]
    assert ranks == [[keys[rank::2] for keys in expected] for rank in range(2)]


def test_several_processes_refuse_a_last_batch_that_some_would_miss(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    command = [sys.executable, "-m", "seqviews.tools.train", "--config", str(tmp_path / "tiny.yaml")]
    command += ["--data", str(toy), "--out", str(tmp_path / "run"), "--devices", "2"]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "the last batch cannot be kept: use last: pad, or drop" in done.stderr
