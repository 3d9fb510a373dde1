"""What each rank of a training reads."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import distributed

from seqviews.model.train.config import TrainConfig
from seqviews.model.train.data import TrainingData, split_stream
from seqviews.pipeline.records import Batch, endless
from seqviews.pipeline.stream.stream import SequenceStream


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


class Keys(LightningModule):
    """Collects the keys of the batches that it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.seen = torch.nn.Parameter(torch.zeros(())), list[list[str]]()

    def training_step(self, batch: Batch, number: int) -> torch.Tensor:
        self.seen.append(batch.keys)
        return self.weight.square()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(loader: Any, epochs: int, folder: Path, checkpoint: Path | None = None) -> list[list[str]]:
    silent: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    saves, module = ModelCheckpoint(folder, save_last=True), Keys()
    trainer = Trainer(max_epochs=epochs, limit_train_batches=3, accelerator="cpu", callbacks=[saves], **silent)
    trainer.fit(module, loader, ckpt_path=checkpoint)
    return module.seen


def test_a_part_of_an_epoch_at_a_time_under_lightning(toy: Path, tmp_path: Path) -> None:
    """The recipe of docs/order.md; without it, the stream warns that the same batches come again."""
    recipe = (Path(__file__).parents[3] / "docs" / "order.md").read_text().split("```python\n")[-1].partition("```")[0]
    scope: dict[str, Any] = {}
    exec(recipe, scope)
    expected = [batch.keys for _, batch in zip(range(15), endless(SequenceStream(toy / "train", 5)), strict=False)]
    with pytest.warns(UserWarning, match=r"epoch 0 of .* was left after 3 of 8 batches and starts again with the same"):
        assert fit(SequenceStream(toy / "train", 5), 2, tmp_path) == expected[:3] * 2
    assert fit(scope["Onward"](SequenceStream(toy / "train", 5)), 3, tmp_path / "on") == expected[:9]
    resumed = scope["Onward"](SequenceStream(toy / "train", 5))
    assert fit(resumed, 5, tmp_path, tmp_path / "on" / "last.ckpt") == expected[9:]
