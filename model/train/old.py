"""Train a model on the views of a stream, with Lightning: module, data, trainer, and building a model."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import ArgumentParser
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor, nn

from seqviews.augment.draws import record_seeds
from seqviews.augment.views import MultiView, Views
from seqviews.model.methods.objective import Ablation, LossTerms, LossWeights
from seqviews.model.protocol import check_model, with_class_path
from seqviews.model.scaling import MelScale
from seqviews.model.train.callbacks import LogFigures, ProgressLines, WholeCheckpoints
from seqviews.pipeline.records import Batch
from seqviews.pipeline.storage.folder import Folder
from seqviews.pipeline.storage.urls import open_folder
from seqviews.pipeline.stream.order import Last
from seqviews.pipeline.stream.stream import SequenceStream

BETAS = (0.9, 0.95)  # the loss falls a hundredfold in a thousand steps; Adam's usual 0.999 would remember its start
LOG_EVERY = 25
CHECKPOINT_EVERY = 250
VALIDATE_EVERY = 500
CHECKPOINT, CONFIG = "checkpoints/last.ckpt", "config.yaml"


class ViewsModule(LightningModule):
    """Minimise a model's objective over a batch and its views.

    The learning rate rises linearly over the warm-up and then falls as a cosine to a hundredth at the last step.

    Args:
        model: What is trained; `loss(views)` gives its terms.
        views: Makes the motion and the content view.
        weights: Of the terms.
        learning_rate: Adam's, at its highest.
        steps: Steps of the whole training.
        warmup: Share of the steps over which the rate rises.
        clip_norm: Gradients of a larger norm are scaled down to it.
        seed: With a record's epoch and index, names its views.
        ablation: What is left out of the objective.
        scale: What segments go through before their views; None for clips.
    """

    def __init__(
        self,
        model: nn.Module,
        views: MultiView,
        weights: LossWeights,
        *,
        learning_rate: float,
        steps: int,
        warmup: float = 0.05,
        clip_norm: float = 1000.0,
        seed: int = 0,
        ablation: Ablation = "none",
        scale: MelScale | None = None,
    ) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stub
        self.views, self.weights, self.seed, self.ablation, self.scale = views, weights, seed, ablation, scale
        self.learning_rate, self.steps, self.warmup, self.clip_norm = learning_rate, steps, warmup, clip_norm
        self._figures: dict[str, Tensor] = {}

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The loss of a batch.

        What is random in it is named by seed, rank and step: a training that goes on from a checkpoint needs no state
        of a generator.
        """
        torch.manual_seed(_seed_of(self.seed, self.global_rank, self.global_step))
        terms: LossTerms = self.model.loss(self.views_of(batch))
        loss = terms.total(self.weights, self.ablation)
        self._figures = {"loss": loss.detach()}
        self._figures |= {name: getattr(terms, name).detach() for name in terms.__dataclass_fields__}
        self.log("loss", loss.detach(), batch_size=len(batch.keys), prog_bar=True, logger=False)
        return loss

    def views_of(self, batch: Batch, epoch: int | None = None) -> Views:
        """What the model sees of a batch: the views that its records have in its epoch, or in another."""
        x, converted = batch.x, batch.converted
        if self.scale is not None:
            x, converted = self.scale(x), None if converted is None else self.scale(converted)
        seeds = record_seeds(self.seed, batch.epoch if epoch is None else epoch, batch.indices)
        return self.views(x, seeds, converted)  # type: ignore[no-any-return]

    def figures(self) -> dict[str, Tensor]:
        """Scalars of the last step: loss, its terms, the gradients' norm before it was clipped, and the `val_loss`."""
        return self._figures

    @torch.no_grad()
    def validate(self, stream: SequenceStream) -> float:
        """The mean loss of validation data in evaluation mode; the same batches, views and noise every time."""
        self.eval()
        total, records = torch.zeros((), device=self.device), 0
        stream.set_epoch(0)  # else the order would be another one, and after a resume not what it would have been
        for number, batch in enumerate(stream):
            torch.manual_seed(_seed_of(self.seed, number))
            batch = batch.to(self.device)
            with self.trainer.precision_plugin.forward_context():
                views = self.views_of(batch, 0)
                total += self.model.loss(views).total(self.weights, self.ablation) * len(batch.keys)
            records += len(batch.keys)
        self.train()
        self._figures["val_loss"] = total / records
        return float(total / records)

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Scale large gradients down."""
        self._figures["gradient_norm"] = nn.utils.clip_grad_norm_(self.parameters(), self.clip_norm)

    def configure_optimizers(self) -> Any:
        """Adam, with its rate set at every step."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate, betas=BETAS, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate_at)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate_at(self, step: int) -> float:
        rising = max(1, round(self.warmup * self.steps))
        if step < rising:
            return (step + 1) / rising
        share = min(1.0, (step - rising) / max(1, self.steps - rising))
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))


def _seed_of(*names: int) -> int:
    return int(np.random.SeedSequence(names).generate_state(1, np.uint64)[0])


class StreamData(LightningDataModule):
    """The training split of a prepared data set, each rank its part of every batch.

    Raises:
        ShardError, ValueError: As `SequenceStream`; also if records have fewer than `min_frames` frames.
    """

    def __init__(
        self, data: Folder | Path | str, *, batch_size: int, min_frames: int, last: Last = "keep", seed: int = 0
    ) -> None:
        super().__init__()
        self.data, self.batch_size, self.last, self.seed = open_folder(data), batch_size, last, seed
        self.stream = self._stream()
        frames = self.stream.manifest.dataset.features.shape[0]
        if frames < min_frames:
            raise ValueError(f"the records of {data} have {frames} frames, the preset wants at least {min_frames}")

    def validation(self) -> SequenceStream | None:
        """The validation split, the same on every rank, or None if there is none."""
        if not (self.data / "val").exists():
            return None
        return SequenceStream(self.data / "val", self.batch_size, seed=self.seed)

    def _stream(self, rank: int = 0, ranks: int = 1) -> SequenceStream:
        return SequenceStream(
            self.data / "train", self.batch_size, seed=self.seed, rank=rank, ranks=ranks, last=self.last
        )

    def train_dataloader(self) -> SequenceStream:
        """The stream of this rank.

        Raises:
            ValueError: If there are several ranks and the last batch is kept: some ranks could have none.
        """
        assert self.trainer is not None
        if self.trainer.world_size > 1:
            if self.last == "keep":
                raise ValueError("with several processes the last batch cannot be kept: use last: pad, or drop")
            self.stream = self._stream(self.trainer.global_rank, self.trainer.world_size)
        return self.stream


def make_trainer(
    out: Path,
    *,
    steps: int,
    max_time: timedelta | None = None,
    precision: str = "auto",
    devices: int = 1,
    callbacks: Sequence[Callback] = (),
    resumed_at: int | None = None,
) -> Trainer:
    """A Lightning trainer that writes `log/metrics.csv`, `tensorboard/` and `checkpoints/last.ckpt` into `out`.

    Args:
        out: The run's folder.
        steps: Where to stop.
        max_time: Where to stop if that comes first; the time of a run that is resumed counts.
        precision: As Lightning's, or "auto": bf16 where the hardware multiplies it faster, else fp32.
        devices: Processes, by Lightning's DDP.
        callbacks: More of them; they come first, so that what they add to the figures is logged.
        resumed_at: The step of the checkpoint that the training goes on from: what was logged later is dropped.
    """
    path = out / CHECKPOINT
    checkpoint = ModelCheckpoint(
        path.parent, filename=path.stem, every_n_train_steps=CHECKPOINT_EVERY, enable_version_counter=False
    )
    terminal = sys.stderr.isatty()
    bar: Callback = RichProgressBar() if terminal else ProgressLines(4 * LOG_EVERY)
    purge_step = None if resumed_at is None else resumed_at + 1
    return Trainer(
        default_root_dir=out,
        max_steps=steps,
        max_time=max_time,
        devices=devices,
        precision=_best_precision() if precision == "auto" else precision,  # type: ignore[arg-type]  # a long Literal
        logger=[
            CSVLogger(out, name="", version="log"),
            TensorBoardLogger(out, name="", version="tensorboard", purge_step=purge_step),
        ],
        callbacks=[*callbacks, LogFigures(LOG_EVERY), bar, checkpoint],
        plugins=[WholeCheckpoints()],
        log_every_n_steps=1,
        enable_progress_bar=terminal,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _best_precision() -> str:
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    cpu = torch.cpu.get_capabilities()
    return "bf16-mixed" if cpu.get("amx_bf16") or cpu.get("avx512_bf16") else "32-true"


def build_model(config: Mapping[str, Any]) -> nn.Module:
    """The model that a configuration's `model` entry names: `class_path` and `init_args`.

    Args:
        config: Its class path may be the name of a registered model.

    Raises:
        ValueError: If there is no such class, it does not take these arguments, or it is no `SequenceModel`.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(nn.Module, "model", required=True)
    try:
        model: nn.Module = parser.instantiate(parser.parse_object({"model": with_class_path(config)})).model
    except Exception as error:  # jsonargparse raises its own error class around whatever the constructor raised
        problem = re.search(r"- (Problem with .*?)\n\s*- Expected", str(error), re.DOTALL)
        told = " ".join((problem[1] if problem else str(error)).split())
        raise ValueError(f"cannot build the model: {told}") from error
    check_model(model)
    return model
