"""Rates of a training that takes no time but what a clock of the test says."""

from pathlib import Path
from typing import Any

import pytest

from seqviews.model.train.config import TrainConfig
from seqviews.pipeline.storage.local import LocalFolder
from seqviews.tools.bench import bench_train
from seqviews.tools.benchmarks.clock import WARM_UP

SECONDS = {"waiting for data": 1.0, "views, networks, loss": 2.0, "backward": 4.0, "clipping, optimizer, log": 1.0}


def test_clips_are_those_of_the_presets_batches_and_the_warm_up_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = 0.0

    def training(config: TrainConfig, callbacks: list[Any]) -> None:
        nonlocal now
        assert config.batch_size == 32
        assert config.max_clips == 10 * 32
        [clock] = callbacks
        events = (clock.on_train_batch_start, clock.on_before_backward, clock.on_after_backward)
        for step in range(10):
            for event, seconds in zip((*events, clock.on_train_batch_end), SECONDS.values(), strict=True):
                now += seconds if step >= WARM_UP else 100.0
                event()

    monkeypatch.setattr("time.perf_counter", lambda: now)
    monkeypatch.setattr("seqviews.tools.bench.train", training)
    percent = {"waiting for data": 12.5, "views, networks, loss": 25.0, "backward": 50.0}
    expected = {"clips_per_second": 4.0, "percent": percent | {"clipping, optimizer, log": 12.5}}
    assert bench_train(LocalFolder(tmp_path), 10) == expected
