"""TrainingModule: a step of a method, for Lightning: views, losses, gradients, learning rate."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from torch import Tensor, nn

from seqviews.augment.draws import record_seeds
from seqviews.augment.views import MultiView, Views
from seqviews.model.protocol import Method
from seqviews.model.ranks import alone
from seqviews.model.scaling import Scale
from seqviews.model.train.config import Optimizer
from seqviews.model.train.data import to_device
from seqviews.model.train.muon import Muon
from seqviews.pipeline.records import Batch
from seqviews.pipeline.stream.stream import SequenceStream

CLIP_NORM = 1000.0
WARMUP = 0.05


class TrainingModule(LightningModule):
    """Minimise a method's losses over batches and their views, one player after the other.

    The learning rate rises linearly over the first `WARMUP` of the steps and then falls as a cosine to a hundredth at
    the last. Gradients of a norm above `CLIP_NORM` are scaled down to it.

    Args:
        method: The method to train.
        views: Makes the views that the method needs.
        scale: Applied to records before their views.
        learning_rate: The highest.
        optimizer: As in `TrainConfig`.
        steps: Batches of the whole training.
        seed: With a record's epoch and index it decides the record's views, and with the step the noise.
        sources: int64 `[N]`, the number of the source of each record of the training split; for methods that need it.
    """

    def __init__(
        self,
        method: Method,
        views: MultiView,
        scale: Scale,
        *,
        learning_rate: float,
        optimizer: Optimizer = "adam",
        steps: int,
        seed: int = 0,
        sources: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # a method may have several optimisers
        for parameter in method.parameters():
            if parameter.ndim == 4:  # Module.to would also convert convolutions over time, for which there is no such
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.method = method
        self.views, self.scale, self.seed = views, scale, seed
        self.learning_rate, self.optimizer, self.steps = learning_rate, optimizer, steps
        self.sources = sources  # on the host, as the indices are
        self.source_records = None if sources is None else sources.bincount()
        self.metrics: dict[str, Tensor] = {}

    @property
    def step(self) -> int:
        """Batches so far; Lightning counts the steps of every optimiser."""
        return self.global_step // len(self.method.players)

    def training_step(self, batch: Batch, batch_index: int) -> None:
        """Every player's step on a batch.

        What is random in it is named by seed and step, on all ranks alike, each of which takes its rows of it: a
        training that resumes from a checkpoint needs no state of a generator.
        """
        torch.manual_seed(_seed_of(self.seed, 0, self.step))
        views = self.views_of(batch)
        optimizers, schedules = self.optimizers(), self.lr_schedulers()
        several = isinstance(optimizers, list)
        self.metrics = {}
        for number, player in enumerate(self.method.players):
            optimizer: Any = optimizers[number] if several else optimizers  # type: ignore[index]
            schedule: Any = schedules[number] if several else schedules  # type: ignore[index]
            self._play(player, views, optimizer, several)
            schedule.step()

    def _play(self, player: str, views: Views, optimizer: Any, several: bool) -> None:
        if several:
            self.toggle_optimizer(optimizer)
        loss = self.method.loss(views, player)
        optimizer.zero_grad()
        with torch.autocast(self.device.type, enabled=False):  # else float32 parts would be differentiated in bfloat16
            self.manual_backward(loss.total)
        norm = nn.utils.clip_grad_norm_(self.method.parameters_of(player), CLIP_NORM)
        optimizer.step()
        if several:
            self.untoggle_optimizer(optimizer)
        of_player = f"/{player}" if several else ""
        self.metrics |= {f"loss{of_player}": loss.total.detach()}
        self.metrics |= {name: value.detach() for name, value in loss.terms.items()}
        self.metrics |= {f"gradient_norm{of_player}": norm}

    def views_of(self, batch: Batch, epoch: int | None = None) -> Views:
        """What the method sees of a batch: the views that its records have in its epoch, or in another."""
        converted = batch.converted
        views = self.views(
            self.scale(batch.x),
            record_seeds(self.seed, batch.epoch if epoch is None else epoch, batch.indices),
            None if converted is None or self.views.motion is None else self.scale(converted),
            batch.lengths,
        )
        labels = {name: batch.factors[name] for name in self.method.needs if name in batch.factors}
        if self.sources is not None and self.source_records is not None:
            labels["source"] = self.sources[batch.indices]
            labels["source_records"] = self.source_records[labels["source"]]
            labels = {name: value.to(self.device, non_blocking=True) for name, value in labels.items()}
        labelled: Views = replace(views, labels=labels)
        return labelled

    @torch.no_grad()
    def validate(self, stream: SequenceStream) -> float:
        """The mean loss over validation data in evaluation mode, of the last player.

        Every call uses the same batches, views and noise, whatever the step and the number of processes.
        """
        self.eval()
        total, records = torch.zeros((), device=self.device), 0
        stream.set_epoch(0)  # the order would differ between validations otherwise
        for number, batch in enumerate(stream):
            torch.manual_seed(_seed_of(self.seed, number))
            batch = to_device(batch, self.device)
            with self.trainer.precision_plugin.forward_context(), alone():
                loss = self.method.loss(self.views_of(batch, 0), self.method.players[-1])
                total += loss.total * len(batch.keys)
            records += len(batch.keys)
        self.train()
        self.metrics["val_loss"] = total / records
        return float(total / records)

    def configure_optimizers(self) -> Any:
        """The optimiser of each player, with its rate set at every step."""
        optimizers = [
            Muon(self.method.parameters_of(player), self.learning_rate)
            if self.optimizer == "muon"
            else self.method.optimizer(player, self.learning_rate)
            for player in self.method.players
        ]
        return optimizers, [torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate_at) for optimizer in optimizers]

    def _rate_at(self, step: int) -> float:
        rising = max(1, round(WARMUP * self.steps))
        if step < rising:
            return (step + 1) / rising
        share = min(1.0, (step - rising) / max(1, self.steps - rising))
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))


def _seed_of(*names: int) -> int:
    return int(np.random.SeedSequence(names).generate_state(1, np.uint64)[0])
