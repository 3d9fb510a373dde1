"""A training that is killed at any moment and resumed has the history of an undisturbed one, bit for bit."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from killed_training import STEPS, Training
from object_storage import Storage

from seqviews.pipeline.stream.stream import SequenceStream

DEADLINE = 30.0
RANKED_STEPS, BATCHES = 60, 3


@pytest.mark.parametrize(
    ("data", "options", "times"),
    [
        ("toy", [], 2),
        pytest.param("toy", [], 20, marks=pytest.mark.slow),
        pytest.param("few_digits", ["--make-from", "sklearn"], 20, marks=pytest.mark.slow),
    ],
)
def test_kill_9_at_random_moments(
    request: pytest.FixtureRequest, tmp_path: Path, data: str, options: list[str], times: int
) -> None:
    folder: Path = request.getfixturevalue(data)
    undisturbed = Training(tmp_path / "undisturbed", folder, *options)
    begun = time.monotonic()
    assert undisturbed.start().wait() == 0
    whole = time.monotonic() - begun
    killed = Training(tmp_path / "killed", folder, *options)
    moments = random.Random(times)
    for _ in range(times):
        process = killed.start()
        time.sleep(moments.uniform(0, whole))
        process.kill()
        process.wait()
    assert killed.start().wait() == 0
    killed.assert_same_end(undisturbed)
    for epoch in range(STEPS // 3):
        assert len({key for _, e, keys in killed.history() if e == epoch for key in keys}) == 36


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_kill_9_of_one_of_two_ranks(
    storage: Storage, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    storage.upload(toy)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    training = Training(tmp_path / "killed", storage.url, "--devices", "2", "--last", "pad", steps=RANKED_STEPS)
    process = training.start()
    ranks = [training.wait_for_step(process, number) for number in range(2)]
    training.wait_for_checkpoint(process)
    begun = time.monotonic()
    os.kill(ranks[rank], signal.SIGKILL)
    while any(is_running(pid) for pid in ranks):
        assert time.monotonic() - begun < DEADLINE, "the surviving rank continues alone"
        time.sleep(0.05)
    assert process.wait() != 0
    sentence = f"error: another process of this training has ended; --resume continues {training.run}"
    assert [line for line in training.messages.read_text().splitlines() if line.endswith(sentence)]
    assert len(training.history(0)) < RANKED_STEPS
    assert training.start().wait() == 0, training.messages.read_text()
    both = [training.history(number) for number in range(2)]
    assert [[step for step, _, _ in history] for history in both] == [list(range(1, RANKED_STEPS + 1))] * 2
    stream = SequenceStream(toy / "train", 12, last="pad")
    expected = [batch.keys for _ in range(RANKED_STEPS // BATCHES) for batch in stream]
    for number, history in enumerate(both):
        assert [keys for _, _, keys in history] == [keys[number::2] for keys in expected]
    for epoch in range(RANKED_STEPS // BATCHES):
        seen = [key for history in both for _, e, keys in history if e == epoch for key in keys]
        assert len(seen) == len(set(seen)) == 36


def is_running(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
