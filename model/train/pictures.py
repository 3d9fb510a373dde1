"""Pictures for TensorBoard while a training goes on: swaps of the same clips each time, and the views of a step."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from seqviews.model.report.images import swap_grid, views_grid
from seqviews.pipeline.records import Batch

SHOWN = 4


class LogPictures(Callback):
    """Every `every` steps, log the swaps of some clips and the views of the step's first clips.

    Args:
        every: Steps from one time to the next.
        clips: `[N, T, C, H, W]` in [0, 1], the same every time, so that two pictures compare.
    """

    def __init__(self, every: int, clips: Tensor) -> None:
        self.every, self.clips = every, clips

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch, i: int) -> None:
        """Draw, without a trace in the training."""
        if trainer.global_step % self.every or not trainer.is_global_zero:
            return
        model: Any = module.model
        clips = self.clips.to(module.device)
        model.eval()
        with trainer.precision_plugin.forward_context():
            posterior = model.encode(clips)
            swaps = swap_grid(model, posterior.static.mean, posterior.dynamic.mean, clips, clips)
        model.train()
        shown = min(SHOWN, len(batch.keys))
        views: Any = module.views_of(batch)  # type: ignore[operator]  # nn.Module types attributes as tensors
        kinds = [
            (views.anchor, batch.keys[:shown]),
            (views.motion, ["motion view"] * shown),
            (views.content, ["content view"] * shown),
        ]
        pictures = {"swaps": swaps, "views": views_grid(kinds)}
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for name, picture in pictures.items():
                    logger.experiment.add_image(name, picture, trainer.global_step, dataformats="HWC")
