from typing import Any

import pytest

from seqviews.model.train.config import TrainConfig
from seqviews.tools.benchmarks import made as bench_made
from seqviews.tools.benchmarks.clock import WARM_UP


def test_made_clips_are_compared_with_a_training_on_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def training(config: TrainConfig, callbacks: list[Any]) -> None:
        """Takes a second a step."""
        assert (config.make_from, config.steps) == ("sklearn", 5)
        (clock,) = callbacks
        for step in range(5):
            clock.last -= 1.0 if step >= WARM_UP else 0.0
            clock.on_train_batch_end()

    monkeypatch.setattr(bench_made, "CLIPS", 64)
    monkeypatch.setattr(bench_made, "train", training)
    result = bench_made.bench_made("sklearn", rounds=1, steps=5)
    rates = result["clips_per_second"]
    size = TrainConfig.preset(bench_made.PRESET, data="x", out="y").batch_size
    assert rates["training"] == pytest.approx(size, rel=0.1)
    assert result["ratio"] == pytest.approx(rates["made"] / rates["training"], abs=0.1)
    assert result["ratio"] > 1
