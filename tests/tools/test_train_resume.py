"""A training that is killed at any moment and resumed has the history of one that was left alone, bit for bit."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
import torch
from killed_training import STEPS, Training, weights


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_kill_9_at_random_moments(toy: Path, tmp_path: Path, times: int) -> None:
    undisturbed = Training(tmp_path / "undisturbed", toy)
    begun = time.monotonic()
    assert undisturbed.start().wait() == 0
    whole = time.monotonic() - begun
    killed = Training(tmp_path / "killed", toy)
    moments = random.Random(times)
    for _ in range(times):
        process = killed.start()
        time.sleep(moments.uniform(0, whole))
        process.kill()
        process.wait()
    assert killed.start().wait() == 0
    assert killed.log == undisturbed.log
    assert killed.history() == undisturbed.history()
    for epoch in range(STEPS // 3):
        assert len({key for _, e, keys in killed.history() if e == epoch for key in keys}) == 36
    ends = weights(undisturbed)
    assert all(torch.equal(value, ends[name]) for name, value in weights(killed).items())
