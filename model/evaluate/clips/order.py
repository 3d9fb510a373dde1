"""Order: whether the frames of a clip follow each other as in real clips, which classes of motion do not show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqviews.model.evaluate.clips.judge import Judge
from seqviews.model.evaluate.encode import collect, no_progress
from seqviews.pipeline.records import Batch, Progress

if TYPE_CHECKING:
    from seqviews.pipeline.stream.stream import SequenceStream

IN_ORDER = "frames/in_order"  # no factor has such a name
FITTED = 4096  # clips that it is trained on
ORDER_STEPS, BATCH, LEARNING_RATE = 600, 128, 1e-3
WIDTH, NOISE = 32, 0.2  # of a feature's standard deviation
TINY = 1e-3


class OrderJudge(nn.Module):
    """Tells clips whose frames are in order from motionless ones and from ones with shuffled frames.

    Two convolutions over time and a linear layer, over the frame features of a judge of factors less their mean over
    time, which are 0 in a motionless clip, whoever it shows.

    Args:
        frames: Number of frames of a clip.
        scale: The standard deviation of each of these features, `[F]`.
    """

    scale: Tensor

    def __init__(self, frames: int, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.layers = nn.Sequential(
            nn.Dropout1d(0.2),
            nn.Conv1d(len(scale), WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(WIDTH, WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(WIDTH * frames, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Logits `[B]` that clips are in order, of `Judge.frame_features` `[B, T, F]`."""
        deviations = (features - features.mean(1, keepdim=True)) / self.scale
        return self.layers(deviations.mT)[:, 0]  # type: ignore[no-any-return]


def train_order(
    judge: Judge,
    train: SequenceStream,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    steps: int = ORDER_STEPS,
    progress: Progress = no_progress,
) -> OrderJudge:
    """Train a judge of order, without labels, on clips as they are, held at one frame, and with shuffled frames.

    Args:
        judge: Of factors, on the device; it is not changed.
        train: The split to learn from; at most `FITTED` clips are read.
        seed: Decides the initial weights and the clips that are not in order.
        device: Where the judge is, and where the result is used.
        steps: Number of batches.
        progress: As for `collect`.

    Returns:
        The judge, in evaluation mode, on the device.
    """

    def features(batch: Batch) -> dict[str, Tensor]:
        return {"features": judge.frame_features(batch.x.to(device) / 255)}

    real = collect(train, features, FITTED, progress).values["features"]
    scale = (real - real.mean(1, keepdim=True)).std((0, 1)) + TINY
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        order = OrderJudge(real.shape[1], scale)
        optimizer = torch.optim.AdamW(order.parameters(), LEARNING_RATE, weight_decay=1e-2)
        target = torch.cat([torch.ones(BATCH), torch.zeros(BATCH)])
        for _ in range(steps):
            x = real[torch.randint(len(real), (BATCH,))]
            x = torch.cat([x, held(x[: BATCH // 2]), shuffled(x[BATCH // 2 :])])
            logits = order(x + NOISE * scale * torch.randn(x.shape))
            optimizer.zero_grad()
            torch.autograd.backward(functional.binary_cross_entropy_with_logits(logits, target))
            optimizer.step()
    return order.eval().to(device)


def held(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Clips `[B, T, ...]` with one of their frames, drawn on the CPU, in place of all."""
    chosen = torch.randint(x.shape[1], (len(x),), generator=generator).to(x.device)
    return x[torch.arange(len(x), device=x.device), chosen][:, None].expand_as(x)


def shuffled(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Clips `[B, T, ...]` with their frames in an order drawn on the CPU."""
    order = torch.rand(x.shape[:2], generator=generator).argsort(1).to(x.device)
    return x[torch.arange(len(x), device=x.device)[:, None], order]


def with_order(judge: Judge, order: OrderJudge) -> Callable[[Tensor], Mapping[str, Tensor]]:
    """`Judge.predict`, with the probability that a clip is in order as `IN_ORDER`, `[B]`."""

    @torch.inference_mode()
    def predict(x: Tensor) -> dict[str, Tensor]:
        return {**judge.predict(x), IN_ORDER: order(judge.frame_features(x)).sigmoid()}

    return predict


def order_scores(predicted: Mapping[str, Tensor], dynamic: Mapping[str, Tensor]) -> dict[str, float]:
    """How many clips are in order, and show the right motion in order.

    Args:
        predicted: The predictions for N clips, as of `with_order`.
        dynamic: Their true dynamic factors, `[N, ...]`; those without classes are left out.

    Returns:
        `in_order`, and `FACTOR/accuracy_in_order`: fractions of the clips.

    Example:
        >>> predicted = {IN_ORDER: torch.tensor([0.9, 0.1, 0.8]), "motion": torch.eye(3)}
        >>> order_scores(predicted, {"motion": torch.tensor([0, 1, 1])})["motion/accuracy_in_order"]
        0.3333333333333333
    """
    in_order = predicted[IN_ORDER] > 0.5
    right = {name: predicted[name].argmax(1) == true for name, true in dynamic.items() if true.ndim == 1}
    scores = {f"{name}/accuracy_in_order": (hits & in_order).double().mean() for name, hits in right.items()}
    return {name: float(score) for name, score in {"in_order": in_order.double().mean(), **scores}.items()}
