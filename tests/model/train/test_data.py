"""What each rank of a training reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from torch import distributed

from seqviews.model.train.config import TrainConfig
from seqviews.model.train.data import TrainingData, split_stream


def test_ranks_share_the_training_split_and_each_reads_all_of_the_others(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = TrainingData(toy, batch_size=6, min_frames=1)
    for name, value in {"is_initialized": True, "get_rank": 1, "get_world_size": 2}.items():
        monkeypatch.setattr(distributed, name, lambda value=value: value)
    validation = data.validation()
    assert validation is not None
    assert data.train_dataloader().part() == (1, 2)
    assert validation.part() == split_stream(toy, "train", batch_size=6, seed=0).part() == (0, 1)


def test_numbers_of_numpy_are_plain_in_the_configuration() -> None:
    numbers: dict[str, Any] = {"batch_size": np.int64(8), "seed": np.uint8(3), "learning_rate": np.float64(1e-3)}
    text = TrainConfig(data="d", out="o", model={"name": "cdsvae", "width": np.float32(0.5)}, **numbers).to_yaml()
    assert (
        text
        == TrainConfig(
            data="d", out="o", model={"name": "cdsvae", "width": 0.5}, batch_size=8, seed=3, learning_rate=1e-3
        ).to_yaml()
    )
    assert yaml.safe_load(text)["model"]["width"] == 0.5
