"""What happens beside the steps of a training: figures logged, progress told, checkpoints written whole."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.loggers import CSVLogger

from seqviews.pipeline.files import open_atomically
from seqviews.pipeline.records import Batch


class LogFigures(Callback):
    """Every `every` steps, log what the module's `figures()` gives, and stop if the loss is not finite.

    The rows are kept in the checkpoint too. A training that goes on from it writes its CSV from them, so the log holds
    each step of the history that survived once, and nothing of what was lost.

    Raises:
        FloatingPointError: If the loss or the gradients' norm is not finite, before a checkpoint of it is written.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._rows: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        """The rows logged so far."""
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the rows of a checkpoint."""
        self._rows = state_dict["rows"]

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Write the rows of the checkpoint that the training goes on from."""
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger):
                for row in self._rows:
                    logger.log_metrics(dict(row), int(row["step"]))
                logger.save()

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *args: Any) -> None:
        """Log a row; this is where the host waits for the device."""
        if trainer.global_step % self.every == 0:
            row = self._figures(trainer, module)
            self._rows.append({"step": trainer.global_step, **row})
            for logger in trainer.loggers:
                logger.log_metrics(row, trainer.global_step)
                logger.save()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Look at the last step, which need not be one that is logged."""
        if trainer.global_step:
            self._figures(trainer, module)

    @staticmethod
    def _figures(trainer: Trainer, module: LightningModule) -> dict[str, float]:
        tensors: dict[str, torch.Tensor] = module.figures()  # type: ignore[operator]  # nn.Module types attributes as tensors
        row = dict(zip(tensors, torch.stack(list(tensors.values())).tolist(), strict=True))
        if not math.isfinite(row["loss"]) or not math.isfinite(row["gradient_norm"]):
            raise FloatingPointError(
                f"the loss is not finite at step {trainer.global_step}: the last good weights are kept in "
                f"{trainer.default_root_dir}; try a lower learning rate"
            )
        return {**row, "learning_rate": trainer.optimizers[0].param_groups[0]["lr"]}


class Validate(Callback):
    """Every `every` steps, the module's loss on validation data; stop when it has not fallen for a while.

    The loss needs no labels. Every validation uses the same batches, views and noise, so two of them compare.

    Args:
        every: Steps from one validation to the next.
        batches: The validation split, for the module.
        patience: Stop after so many validations in a row without a new lowest loss; None never stops.
    """

    def __init__(self, every: int, batches: Iterable[Batch], patience: int | None = None) -> None:
        self.every, self.batches, self.patience = every, batches, patience
        self._best, self._waited = math.inf, 0

    def state_dict(self) -> dict[str, Any]:
        """The lowest loss and the validations since."""
        return {"best": self._best, "waited": self._waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over those of a checkpoint."""
        self._best, self._waited = state_dict["best"], state_dict["waited"]

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *args: Any) -> None:
        """Validate, and stop the training if its time has come."""
        if trainer.global_step % self.every:
            return
        loss: float = module.validate(self.batches)  # type: ignore[operator]  # nn.Module types attributes as tensors
        self._waited = 0 if loss < self._best else self._waited + 1
        self._best = min(self._best, loss)
        over = self.patience is not None and self._waited >= self.patience
        if trainer.strategy.reduce_boolean_decision(over, all=False):  # on all ranks, or one would wait for ever
            print(f"stopped: no lower val_loss in {self._waited} validations", file=sys.stderr, flush=True)
            trainer.should_stop = True


class ProgressLines(Callback):
    """A plain line every `every` steps, where there is no terminal for a progress bar."""

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clock."""
        self._started, self._clips = time.monotonic(), 0

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch, i: int) -> None:
        """Print step, records a second and loss."""
        self._clips += len(batch.keys)
        if trainer.global_step % self.every == 0:
            speed = self._clips / (time.monotonic() - self._started)
            loss = float(trainer.callback_metrics["loss"])
            told = f"step {trainer.global_step} of {trainer.max_steps}: loss {loss:.1f}, {speed:.0f} records/s"
            print(told, file=sys.stderr, flush=True)


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are there whole or not at all.

    Lightning writes beside the system's temporary files and then moves, which copies from one disk to another.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint, then rename it."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open_atomically(Path(path)) as file:
            torch.save(checkpoint, file)
