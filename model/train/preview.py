"""What a method sees at a step of a training, which need not have been run."""

from dataclasses import dataclass
from typing import Any

from seqviews.augment.draws import record_seeds
from seqviews.augment.views import Views
from seqviews.model.train.config import TrainConfig
from seqviews.model.train.trainer import assemble
from seqviews.pipeline.records import Batch
from seqviews.pipeline.storage.folder import Cache


@dataclass(frozen=True, slots=True, eq=False)
class StepViews:
    """A batch of all ranks together at a step, and its views, from which the loss is computed.

    Attributes:
        batch: The batch, as the stream yields it.
        number: The batch's position in its epoch, counted from 0.
        views: Its views.
        params: The parameters drawn for the motion views; None if the method needs none.
        augmented: Whether the clips themselves are augmented.
    """

    batch: Batch
    number: int
    views: Views
    params: Any
    augmented: bool


def views_at(config: TrainConfig, step: int, *, cache: Cache | None = None, trust_code: bool = False) -> StepViews:
    """What the method sees at a step, counted from 1 as in a run's log.

    Raises:
        ValueError: If the training has no such step, or as `trainer.train`.
        ShardError: As `SequenceStream`.
    """
    if not 1 <= step <= config.steps:
        raise ValueError(f"there is no step {step}: a training with these arguments has steps 1 to {config.steps}")
    config, data, module = assemble(config, cache=cache, trust_code=trust_code)
    epoch, number = divmod(step - 1, len(data.stream))
    data.stream.load_state_dict({**data.stream.state_dict(), "epoch": epoch, "batches": number})
    batch = next(iter(data.stream))
    motion = module.views.motion
    seeds = record_seeds(config.seed, batch.epoch, batch.indices)
    params = None if motion is None else motion.draw(seeds)
    return StepViews(batch, number, module.views_of(batch), params, config.anchor is not None)
