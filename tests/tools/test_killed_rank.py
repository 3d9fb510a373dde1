"""kill -9 of one of two ranks: the other stops, and both go on from the checkpoint with every record exactly once."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from killed_training import Training
from object_storage import Storage

from seqviews.pipeline.stream.stream import SequenceStream

DEADLINE = 30.0
STEPS, BATCHES = 60, 3


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_kill_9_of_one_of_two_ranks(
    storage: Storage, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    storage.upload(toy)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    training = Training(tmp_path / "killed", storage.url, "--devices", "2", "--last", "pad", steps=STEPS)
    process = training.start()
    ranks = [training.wait_for_step(process, number) for number in range(2)]
    training.wait_for_checkpoint(process)
    begun = time.monotonic()
    os.kill(ranks[rank], signal.SIGKILL)
    while any(is_running(pid) for pid in ranks):
        assert time.monotonic() - begun < DEADLINE, "the other goes on alone"
        time.sleep(0.05)
    assert process.wait() != 0
    told = training.told.read_text().splitlines()
    sentence = f"error: another process of this training has ended; --resume goes on with {training.run}"
    assert [line for line in told if line.endswith(sentence)]
    assert len(training.history(0)) < STEPS
    assert training.start().wait() == 0, training.told.read_text()
    both = [training.history(number) for number in range(2)]
    assert [[step for step, _, _ in one] for one in both] == [list(range(1, STEPS + 1))] * 2
    stream = SequenceStream(toy / "train", 12, last="pad")
    expected = [batch.keys for _ in range(STEPS // BATCHES) for batch in stream]
    assert [[keys for _, _, keys in one] for one in both] == [[k[number::2] for k in expected] for number in range(2)]
    for epoch in range(STEPS // BATCHES):
        keys = [key for one in both for _, e, keys in one if e == epoch for key in keys]
        assert len(keys) == len(set(keys)) == 36


def is_running(pid: int) -> bool:
    """Whether a process is there and not dead already, waiting to be asked how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
