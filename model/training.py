"""Train a model on the views of a stream, with Lightning: module, data, callbacks, and loading a finished run."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor, nn

from seqviews.augment.draws import record_seeds
from seqviews.augment.views import MultiView
from seqviews.model.objective import LossTerms, LossWeights
from seqviews.pipeline.order import Last
from seqviews.pipeline.records import Batch
from seqviews.pipeline.stream import SequenceStream

LOG_EVERY = 25
CHECKPOINT_EVERY = 250
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
    ) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stub
        self.views, self.weights, self.seed = views, weights, seed
        self.learning_rate, self.steps, self.warmup, self.clip_norm = learning_rate, steps, warmup, clip_norm
        self.register_buffer("gradient_norm", torch.zeros(()), persistent=False)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The loss of a batch; its terms are logged."""
        views = self.views(batch.x, record_seeds(self.seed, batch.epoch, batch.indices))
        terms: LossTerms = self.model.loss(views)
        loss = terms.total(self.weights)
        logged = {name: getattr(terms, name).detach() for name in terms.__dataclass_fields__}
        self.log_dict({"loss": loss.detach(), **logged}, batch_size=len(batch.keys))
        return loss

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Scale large gradients down; the norm before that is logged, and tells of a loss that is not finite."""
        self.gradient_norm = nn.utils.clip_grad_norm_(self.parameters(), self.clip_norm)
        self.log("gradient_norm", self.gradient_norm)

    def configure_optimizers(self) -> Any:
        """Adam, with its rate set at every step."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate_at)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate_at(self, step: int) -> float:
        rising = max(1, round(self.warmup * self.steps))
        if step < rising:
            return (step + 1) / rising
        share = min(1.0, (step - rising) / max(1, self.steps - rising))
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))


class StreamData(LightningDataModule):
    """The training split of a prepared data set, each rank its part of every batch.

    Raises:
        ShardError, ValueError: As `SequenceStream`; also if clips have fewer than `min_frames` frames.
    """

    def __init__(self, data: Path, *, batch_size: int, min_frames: int, last: Last = "keep", seed: int = 0) -> None:
        super().__init__()
        self.data, self.batch_size, self.last, self.seed = data, batch_size, last, seed
        self.stream = self._stream()
        frames = self.stream.manifest.dataset.features.shape[0]
        if frames < min_frames:
            raise ValueError(f"the clips of {data} have {frames} frames, the preset wants at least {min_frames}")

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


class StopIfNotFinite(Callback):
    """End the training with an error when the loss is not finite, before a checkpoint of it is written."""

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *args: Any) -> None:
        """Look at the gradients' norm whenever figures are logged or weights are saved."""
        if trainer.global_step % LOG_EVERY == 0 or trainer.global_step == trainer.max_steps:
            norm = float(module.gradient_norm)  # type: ignore[arg-type]  # nn.Module types attributes as tensors
            if not math.isfinite(norm):
                raise FloatingPointError(
                    f"the loss is not finite at step {trainer.global_step}: the last good weights are kept in "
                    f"{trainer.default_root_dir}; try a lower learning rate"
                )


class ProgressLines(Callback):
    """A plain line now and then, where there is no terminal for a progress bar."""

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clock."""
        self._started, self._clips = time.monotonic(), 0

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch, i: int) -> None:
        """Print step, clips a second and loss."""
        self._clips += len(batch.keys)
        if trainer.global_step % (4 * LOG_EVERY) == 0:
            speed = self._clips / (time.monotonic() - self._started)
            loss = float(trainer.callback_metrics["loss"])
            told = f"step {trainer.global_step} of {trainer.max_steps}: loss {loss:.1f}, {speed:.0f} clips/s"
            print(told, file=sys.stderr, flush=True)


def make_trainer(
    out: Path, *, steps: int, max_time: timedelta | None, precision: str, callbacks: Sequence[Callback] = ()
) -> Trainer:
    """A Lightning trainer that writes `log/metrics.csv`, `tensorboard/` and `checkpoints/last.ckpt` into `out`.

    Args:
        out: The run's folder.
        steps: Where to stop.
        max_time: Where to stop if that comes first.
        precision: As Lightning's, or "auto": bf16 where the hardware multiplies it faster, else fp32.
        callbacks: More of them.
    """
    path = out / CHECKPOINT
    checkpoint = ModelCheckpoint(
        path.parent, filename=path.stem, every_n_train_steps=CHECKPOINT_EVERY, enable_version_counter=False
    )
    terminal = sys.stderr.isatty()
    bar: Callback = RichProgressBar() if terminal else ProgressLines()
    return Trainer(
        default_root_dir=out,
        max_steps=steps,
        max_time=max_time,
        precision=_best_precision() if precision == "auto" else precision,  # type: ignore[arg-type]  # a long Literal
        logger=[CSVLogger(out, name="", version="log"), TensorBoardLogger(out, name="", version="tensorboard")],
        callbacks=[StopIfNotFinite(), bar, LearningRateMonitor("step"), checkpoint, *callbacks],
        log_every_n_steps=LOG_EVERY,
        enable_progress_bar=terminal,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _best_precision() -> str:
    fast = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else torch.cpu.get_capabilities().get("amx_bf16")
    return "bf16-mixed" if fast else "32-true"


def build_model(config: Mapping[str, Any]) -> nn.Module:
    """The model that a configuration's `model` entry names: `class_path` and `init_args`.

    Raises:
        ValueError: If there is no such class, or it does not take these arguments.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(nn.Module, "model", required=True)
    try:
        model: nn.Module = parser.instantiate(parser.parse_object({"model": dict(config)})).model
    except Exception as error:  # jsonargparse raises its own error class around whatever the constructor raised
        raise ValueError(f"cannot build the model: {error}") from error
    return model


def load_model(run: Path) -> nn.Module:
    """The trained model of a run's folder, in evaluation mode, on the CPU.

    Raises:
        ValueError: If the folder holds no finished or saved training, or its weights are not of this model.
    """
    for name in (CONFIG, CHECKPOINT):
        if not (run / name).is_file():
            raise ValueError(f"{run} holds no {name}: it is not the --out of a training, or nothing was saved yet")
    model = build_model(yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))["model"])
    state = torch.load(run / CHECKPOINT, map_location="cpu", weights_only=True)["state_dict"]
    weights = {name.removeprefix("model."): w for name, w in state.items() if name.startswith("model.")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{run / CHECKPOINT} does not fit the model of {run / CONFIG}: {error}") from None
    return model.eval()
