"""Judge: a classifier, trained with labels, that predicts the factors of a clip [P 4.2]."""

from __future__ import annotations

import copy
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqviews.model.evaluate import metrics, pairs
from seqviews.model.evaluate.encode import no_progress
from seqviews.model.evaluate.metrics import accuracy, trajectory_distance
from seqviews.model.evaluate.pairs import PairHead, parts_of
from seqviews.pipeline.files import make_cache, open_atomically
from seqviews.pipeline.records import Batch, Progress, endless

if TYPE_CHECKING:
    from seqviews.pipeline.stream.stream import SequenceStream

logger = logging.getLogger(__name__)
STEPS = 800
ROUNDS = 4  # of a judge of pairs, each twice as long as the one before
RIGHT = 0.97  # of the pairs of validation clips, where these rounds end
VALIDATIONS = 8
FEATURES = 96
LEARNING_RATE = 3e-3
SHIFT, BRIGHTNESS, NOISE = 1 / 32, 0.05, 0.03


class Judge(nn.Module):
    """One encoder and a head for each factor.

    Frames pass through a small convolutional network. Its maxima over the frame encode what is seen, a linear layer
    over the map encodes where, and two convolutions over time encode how it changes. The head of a factor with classes
    takes the means of these features over time, that of a trajectory the features of each frame.

    Args:
        frame_shape: (C, H, W).
        classes: Number of classes of each factor that has classes.
        trajectories: Number of points of each factor that is a trajectory.
        pairs: The parts of the classes, int64 `[K, 2]`, of each factor whose classes are pairs.

    Example:
        >>> judge = Judge((1, 32, 32), classes={"digits": 10}, trajectories={"trajectory": 1}).eval()
        >>> {name: list(value.shape) for name, value in judge.predict(torch.rand(4, 8, 1, 32, 32)).items()}
        {'digits': [4, 10], 'trajectory': [4, 8, 1, 2]}
    """

    def __init__(
        self,
        frame_shape: tuple[int, int, int],
        classes: Mapping[str, int],
        trajectories: Mapping[str, int],
        pairs: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        channels, height, width = frame_shape
        self.scale = float(width)
        stages: list[nn.Module] = []
        for wide in (16, 32, 64, 128, 128):
            if min(height, width) < 8:
                break
            stages += _convolution(channels, wide, stride=2)
            channels, height, width = wide, (height + 1) // 2, (width + 1) // 2
        self.what = nn.Sequential(*stages, *_convolution(channels, FEATURES, stride=1))
        self.where = nn.Sequential(nn.Flatten(), nn.Linear(FEATURES * height * width, FEATURES))
        self.change = nn.Sequential(
            nn.BatchNorm1d(2 * FEATURES),
            nn.ReLU(),
            nn.Conv1d(2 * FEATURES, FEATURES, 3, padding=1, bias=False),
            nn.BatchNorm1d(FEATURES),
            nn.ReLU(),
            nn.Conv1d(FEATURES, FEATURES, 3, padding=1),
        )
        heads = {
            name: PairHead(3 * FEATURES, pairs[name]) if name in pairs else nn.Linear(3 * FEATURES, count)
            for name, count in classes.items()
        }
        self.classes, self.pairs = nn.ModuleDict(heads), list(pairs)
        self.points = nn.ModuleDict({name: nn.Linear(3 * FEATURES, 2 * count) for name, count in trajectories.items()})
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Logits `[B, K]` or trajectories `[B, T, n, 2]` in pixels, of clips `[B, T, C, H, W]` in [0, 1]."""
        maps = self.what(x.flatten(0, 1))
        frames = torch.cat([maps.amax(dim=(2, 3)), self.where(maps)], dim=1).reshape(*x.shape[:2], -1)
        features = torch.cat([frames, self.change(frames.mT).mT], dim=2)
        pooled = features.relu().mean(1)
        logits = {name: head(pooled) for name, head in self.classes.items()}
        points = {name: head(features) * self.scale for name, head in self.points.items()}
        return logits | {name: value.reshape(*x.shape[:2], -1, 2) for name, value in points.items()}

    @torch.inference_mode()
    def predict(self, x: Tensor) -> dict[str, Tensor]:
        """Like `forward`, with probabilities in place of logits."""
        return {name: value.softmax(1) if value.ndim == 2 else value for name, value in self(x).items()}

    def loss(self, x: Tensor, factors: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of the classes plus the error of the trajectories in tenths of the frame's width: a scalar."""
        total = x.new_zeros(())
        for name, value in self(x).items():
            if value.ndim == 2:
                total = total + functional.cross_entropy(value, factors[name])
            else:
                total = total + trajectory_distance(value, factors[name]).mean() * (10 / self.scale)
        return total


def _convolution(before: int, channels: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(before, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


def jitter(batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Light augmentation: one shift, one brightness and one noise image per clip, drawn on the CPU.

    Returns:
        Clips `[B, T, C, H, W]` in [0, 1], and their factors: trajectories shift with their frames.
    """
    frames = batch.x.permute(0, 1, 3, 4, 2)  # contiguous: channels are stored last
    count, length, height, width, channels = frames.shape
    device = frames.device
    maximum = round(SHIFT * width)
    shift = torch.randint(-maximum, maximum + 1, (count, 2), generator=generator).to(device)  # right, down
    gain = (1 + BRIGHTNESS * (2 * torch.rand(count, 1, 1, 1, 1, generator=generator) - 1)).to(device)
    noise = NOISE * torch.randn(count, 1, height, width, channels, generator=generator).to(device)
    clips = torch.arange(count, device=device)[:, None, None, None]
    times = torch.arange(length, device=device)[:, None, None]
    rows = (torch.arange(height, device=device) - shift[:, 1:]).clamp(0, height - 1)[:, None, :, None]
    columns = (torch.arange(width, device=device) - shift[:, :1]).clamp(0, width - 1)[:, None, None, :]
    x = torch.addcmul(noise, frames[clips, times, rows, columns].float(), gain / 255).clamp_(0, 1)
    factors = {name: f + shift[:, None, None] if f.ndim == 4 else f for name, f in batch.factors.items()}
    return x.permute(0, 1, 4, 2, 3), factors


def train_judge(
    train: SequenceStream,
    val: SequenceStream,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    steps: int | None = None,
    progress: Progress = no_progress,
) -> Judge:
    """Train a judge with labels and keep the weights with the lowest loss on the validation split.

    How long it took and how often the judge is right about validation clips is logged.

    Args:
        train: The split that it learns from, with every factor.
        val: The split that the weights are selected by, likewise.
        seed: Decides the initial weights and the augmentation.
        device: Where it is trained.
        steps: Number of batches. By default 800. Where classes are pairs, such as two digits, rounds of 1,600, 3,200
            and 6,400 batches follow until the judge is right about 97 % of the validation clips.
        progress: Called with "judge", the steps done and all steps of the round.

    Raises:
        ValueError: If the data set has no factors.
    """
    judge, generator = _new_judge(train, seed).to(device), torch.Generator().manual_seed(seed)
    batches, taken, started = iter(endless(train)), 0, time.monotonic()
    rounds = [STEPS << number for number in range(ROUNDS)] if steps is None else [steps]
    for number, length in enumerate(rounds, 1):
        task = "judge" if number == 1 else f"judge, round {number}"
        _train_round(judge, islice(batches, length), length, val, generator, partial(progress, task))
        taken += length
        right = _accuracies(judge, val)
        shares = "".join(f", {name} {share:.1%}" for name, share in right.items())
        logger.info("the judge took %d steps and %.0f s%s", taken, time.monotonic() - started, shares)
        if all(right[name] >= RIGHT for name in judge.pairs):
            break
    else:
        if steps is None:
            logger.warning("the judge is still right about less than %.0f%% of validation clips", 100 * RIGHT)
    return judge


def _train_round(
    judge: Judge,
    batches: Iterator[Batch],
    steps: int,
    val: SequenceStream,
    generator: torch.Generator,
    progress: Callable[[float, float], None],
) -> None:
    """Train over one schedule of the learning rate; the judge ends with the best of its weights."""
    device = next(judge.parameters()).device
    optimiser = torch.optim.AdamW(judge.parameters(), LEARNING_RATE, weight_decay=1e-2)
    total = max(steps, 10)  # with fewer, the rate rises over less than a step, and torch divides by zero
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=total, pct_start=0.2)
    best, best_loss = copy.deepcopy(judge.state_dict()), float("inf")
    for step, batch in enumerate(batches, 1):
        x, factors = jitter(batch.to(device), generator)
        optimiser.zero_grad()
        torch.autograd.backward(judge.train().loss(x, factors))
        optimiser.step()
        schedule.step()
        if step % max(1, steps // VALIDATIONS) == 0 or step == steps:
            progress(step, steps)
            loss = _mean_loss(judge.eval(), val, device)
            if loss < best_loss:
                best, best_loss = copy.deepcopy(judge.state_dict()), loss
    judge.load_state_dict(best)
    judge.eval()


def cached_judge(
    folder: Path,
    train: SequenceStream,
    val: SequenceStream,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    steps: int | None = None,
    progress: Progress = no_progress,
) -> Judge:
    """The judge of a data set, trained on the first call and read from `folder` afterwards; arguments of `train_judge`.

    Before the training, a folder that cannot be written to is reported by a warning, not by an error. The file
    name is a hash of both splits' manifests and excerpts, the code here, in `metrics` and in `pairs`, the seed and the
    steps.

    Raises:
        ValueError: If the data set has no factors, or the file is damaged.
    """
    code = b"".join(Path(file).read_bytes() for file in (__file__, metrics.__file__, pairs.__file__))
    version = hashlib.sha256(code).hexdigest()
    identity = f"{version} {train.manifest.digest} {val.manifest.digest} {seed} {steps} {train.excerpt} {val.excerpt}"
    path = folder / f"judge-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.pt"
    judge = _new_judge(train, seed).to(device)
    try:
        make_cache(folder, written=not path.exists())
    except OSError as error:
        logger.warning("the judge is trained, but not kept for the next evaluation: %s", error)
        return train_judge(train, val, seed=seed, device=device, steps=steps, progress=progress)
    if not path.exists():
        judge = train_judge(train, val, seed=seed, device=device, steps=steps, progress=progress)
        try:
            with open_atomically(path) as file:
                torch.save(judge.state_dict(), file)
        except (OSError, RuntimeError) as error:  # torch's own for a full disk
            logger.warning("the judge is not kept for the next evaluation: %s", error)
        return judge
    try:
        judge.load_state_dict(torch.load(path, map_location=device, weights_only=True))
    except Exception as error:  # pickle, zip and torch each raise classes of their own
        raise ValueError(f"the judge in {path} cannot be read; delete it to train it again: {error}") from error
    return judge.eval()


def _new_judge(clips: SequenceStream, seed: int) -> Judge:
    factors = clips.manifest.factors
    if not factors:
        raise ValueError(f"the data set {clips.manifest.dataset.name} has no factors, which a judge is trained on")
    first = next(iter(clips))
    _, height, width, channels = clips.manifest.dataset.features.shape
    classes = {name: len(names) for name, names in factors.items() if names is not None}
    shapes = {name: list(first.factors[name].shape[1:]) for name, names in factors.items() if names is None}
    for name, shape in shapes.items():
        if len(shape) != 3 or shape[2] != 2:
            raise ValueError(f"factor {name} is {shape} numbers a clip, not the [T, n, 2] of a trajectory in pixels")
    trajectories = {name: shape[1] for name, shape in shapes.items()}
    parts = {name: numbers for name, names in factors.items() if (numbers := parts_of(names)) is not None}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Judge((channels, height, width), classes, trajectories, parts)


@torch.inference_mode()
def _mean_loss(judge: Judge, clips: Iterable[Batch], device: torch.device | str) -> float:
    total, count = 0.0, 0
    for batch in (batch.to(device) for batch in clips):
        total += float(judge.loss(batch.x / 255, batch.factors)) * len(batch.keys)
        count += len(batch.keys)
    return total / max(count, 1)


@torch.inference_mode()
def _accuracies(judge: Judge, clips: Iterable[Batch]) -> dict[str, float]:
    """How often the judge is right about each factor with classes."""
    device = next(judge.parameters()).device
    right, count = dict.fromkeys(judge.classes, 0.0), 0
    for batch in (batch.to(device) for batch in clips):
        for name, value in judge.predict(batch.x / 255).items():
            if name in right:
                right[name] += accuracy(value, batch.factors[name]) * len(batch.keys)
        count += len(batch.keys)
    return {name: total / max(count, 1) for name, total in right.items()}
