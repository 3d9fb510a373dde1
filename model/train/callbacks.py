"""What happens between the steps of a training: metrics and images logged, validation, progress, checkpoints."""

import logging
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor

from seqviews.model.protocol import missing_capabilities
from seqviews.model.report.grids import swap_grid, views_grid
from seqviews.model.train.module import TrainingModule
from seqviews.pipeline.files import open_atomically
from seqviews.pipeline.records import Batch

SHOWN = 4
logger = logging.getLogger("seqviews")


class LogMetrics(Callback):
    """Every `every` steps, log the module's `metrics` to all loggers, as means over the ranks.

    The rows are kept in the checkpoint too. A training that resumes from it writes its CSV from them, so the log holds
    each step of the surviving history once, and nothing of what was lost.

    Raises:
        FloatingPointError: If a loss or a gradient's norm is not finite, before a checkpoint of it is written.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._rows: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        """The rows logged so far."""
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the rows of a checkpoint."""
        self._rows = state_dict["rows"]

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Writes the rows of the checkpoint that the training resumes from."""
        for log in trainer.loggers:
            if isinstance(log, CSVLogger):
                for row in self._rows:
                    log.log_metrics(dict(row), int(row["step"]))
                log.save()

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *args: Any) -> None:
        """Logs a row; this is where the host waits for the device."""
        step = cast(TrainingModule, module).step
        if step % self.every == 0:
            row = self._metrics(trainer, cast(TrainingModule, module))
            self._rows.append({"step": step, **row})
            for log in trainer.loggers:
                log.log_metrics(row, step)
                log.save()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Checks the last step, which need not be one that is logged."""
        if cast(TrainingModule, module).metrics:
            self._metrics(trainer, cast(TrainingModule, module))

    @staticmethod
    def _metrics(trainer: Trainer, module: TrainingModule) -> dict[str, float]:
        values = trainer.strategy.reduce(torch.stack(list(module.metrics.values())), reduce_op="mean")
        row = dict(zip(module.metrics, cast(Tensor, values).tolist(), strict=True))
        if not all(math.isfinite(v) for name, v in row.items() if name.startswith(("loss", "gradient_norm"))):
            kept = f"the last good weights are kept in {trainer.default_root_dir}; try a lower learning rate"
            raise FloatingPointError(f"the loss is not finite at step {module.step}: {kept}")
        return {**row, "learning_rate": trainer.optimizers[0].param_groups[0]["lr"]}


class Validate(Callback):
    """Every `every` steps, compute the module's loss, which needs no labels, on the batches of the validation split.

    After `patience` validations in a row without a new lowest loss the training stops; None never stops it.
    """

    def __init__(self, every: int, batches: Iterable[Batch], patience: int | None = None) -> None:
        self.every, self.batches, self.patience = every, batches, patience
        self._lowest, self._since = math.inf, 0

    def state_dict(self) -> dict[str, Any]:
        """The lowest loss and the number of validations since."""
        return {"lowest": self._lowest, "since": self._since}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores those of a checkpoint."""
        self._lowest, self._since = state_dict["lowest"], state_dict["since"]

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Stops a training that had stopped and is resumed."""
        trainer.should_stop = self._is_over

    @property
    def _is_over(self) -> bool:
        return self.patience is not None and self._since >= self.patience

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *args: Any) -> None:
        """Validates, and stops the training if it should end."""
        if cast(TrainingModule, module).step % self.every:
            return
        loss: float = module.validate(self.batches)  # type: ignore[operator]  # nn.Module types attributes as tensors
        self._since = 0 if loss < self._lowest else self._since + 1
        self._lowest = min(self._lowest, loss)
        # On all ranks, or one would wait forever.
        if trainer.strategy.reduce_boolean_decision(self._is_over, all=False):
            logger.info("stopped: no lower val_loss in %d validations", self._since)
            trainer.should_stop = True


class LogImages(Callback):
    """Every `every` steps, log images to TensorBoard: the views of the step's first clips, and swaps.

    The swaps are those of the same clips, `[N, T, C, H, W]` in [0, 1], so that images of different steps compare.
    """

    def __init__(self, every: int, clips: Tensor) -> None:
        self.every, self.clips = every, clips

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch, i: int) -> None:
        """Draws; the training stays as it is."""
        training = cast(TrainingModule, module)
        if training.step % self.every or not trainer.is_global_zero:
            return
        grids = {"views": views_grid(_captioned(training.views_of(batch), batch.keys[:SHOWN]))}
        if not missing_capabilities(training.method, "encode", "decode"):
            method: Any = training.method
            clips = self.clips.to(module.device)
            method.eval()
            with trainer.precision_plugin.forward_context():
                posterior = method.encode(clips)
                grids["swaps"] = swap_grid(method, posterior.static.mean, posterior.dynamic.mean, clips, clips)
            method.train()
        for log in trainer.loggers:
            if isinstance(log, TensorBoardLogger):
                for name, grid in grids.items():
                    log.experiment.add_image(name, grid.still(), training.step, dataformats="HWC")


def _captioned(views: Any, keys: list[str]) -> list[tuple[Tensor, list[str]]]:
    """The clips and those of their views that there are, each with captions."""
    kinds = [(views.anchor, keys)]
    if views.motion is not None:
        kinds.append((views.motion, ["motion view"] * len(keys)))
    if views.order is not None:
        kinds.append((views.content, ["content view"] * len(keys)))
    return kinds


class ProgressLines(Callback):
    """A line of the log every `every` steps, where there is no terminal for a progress bar."""

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Starts the clock."""
        self._started, self._records = time.monotonic(), 0

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch, i: int) -> None:
        """Reports step, loss and records a second, of all ranks."""
        self._records += len(batch.keys) * trainer.world_size
        training = cast(TrainingModule, module)
        if training.step % self.every == 0 and trainer.is_global_zero:
            speed = self._records / (time.monotonic() - self._started)
            losses = [f"{name} {float(v):.1f}" for name, v in training.metrics.items() if name.startswith("loss")]
            logger.info(f"step {training.step} of {training.steps}: {', '.join(losses)}, {speed:.0f} records/s")


class SaveCheckpoint(Checkpoint):
    """Every `every` steps, after all other callbacks, save a checkpoint."""

    def __init__(self, every: int, path: Path) -> None:
        self.every, self.path = every, path

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *args: Any) -> None:
        """Saves on all ranks together, as strategies want it."""
        if cast(TrainingModule, module).step % self.every == 0:
            trainer.save_checkpoint(self.path)


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints that are there whole or not at all.

    Lightning writes to the system's temporary folder and then moves, which copies from one disk to another.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint, then renames it."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open_atomically(Path(path)) as file:
            torch.save(checkpoint, file)
