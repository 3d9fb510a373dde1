"""Training of a judge with labels, and the cache of trained judges."""

from __future__ import annotations

import copy
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock, Timeout

from seqviews.model.evaluate.clips import judge as network
from seqviews.model.evaluate.clips import metrics, pairs
from seqviews.model.evaluate.clips.judge import Judge, jitter
from seqviews.model.evaluate.clips.metrics import accuracy
from seqviews.model.evaluate.clips.pairs import parts_of
from seqviews.model.evaluate.encode import no_progress
from seqviews.model.train.muon import Muon
from seqviews.pipeline.files import make_cache, open_atomically
from seqviews.pipeline.records import Batch, Progress, endless

if TYPE_CHECKING:
    from seqviews.pipeline.stream.stream import SequenceStream

logger = logging.getLogger(__name__)
STEPS = 800
ROUNDS = 4  # of a judge of pairs, each twice as long as the one before
RIGHT = 0.97  # of the pairs of validation clips, where these rounds end
VALIDATIONS = 8
LEARNING_RATE = 3e-3
LEARNING_RATE_OF_PAIRS = 5e-3  # with Muon


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
    optimiser: torch.optim.Optimizer
    if judge.pairs:  # of many clips; on the 408 takes of the drawn faces Muon overfits
        rate, optimiser = LEARNING_RATE_OF_PAIRS, Muon(judge.parameters(), LEARNING_RATE_OF_PAIRS)
    else:
        rate, optimiser = LEARNING_RATE, torch.optim.AdamW(judge.parameters(), LEARNING_RATE, weight_decay=1e-2)
    total = max(steps, 10)  # with fewer, the rate rises over less than a step, and torch divides by zero
    cycle: dict[str, Any] = {"total_steps": total, "pct_start": 0.2, "cycle_momentum": not judge.pairs}
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, **cycle)
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

    Processes that need the same judge wait for the one that trains it. Before the training, a folder that cannot be
    written to is reported by a warning, not by an error. The file name is a hash of both splits' manifests and
    excerpts, the code here, in `metrics` and in `pairs`, the seed and the steps.

    Raises:
        ValueError: If the data set has no factors, or the file is damaged.
    """
    code = b"".join(Path(file).read_bytes() for file in (__file__, network.__file__, metrics.__file__, pairs.__file__))
    version = hashlib.sha256(code).hexdigest()
    identity = f"{version} {train.manifest.digest} {val.manifest.digest} {seed} {steps} {train.excerpt} {val.excerpt}"
    path = folder / f"judge-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.pt"
    judge = _new_judge(train, seed).to(device)
    trained = partial(train_judge, train, val, seed=seed, device=device, steps=steps, progress=progress)
    try:
        make_cache(folder, written=not path.exists())
        lock = nullcontext() if path.exists() else _lock(path)
    except OSError as error:
        logger.warning("the judge is trained, but not kept for the next evaluation: %s", error)
        return trained()
    with lock:
        if not path.exists():
            judge = trained()
            _keep(judge, path)
            return judge
    try:
        judge.load_state_dict(torch.load(path, map_location=device, weights_only=True))
    except Exception as error:  # pickle, zip and torch each raise classes of their own
        raise ValueError(f"the judge in {path} cannot be read; delete it to train it again: {error}") from error
    return judge.eval()


def _lock(path: Path) -> AbstractContextManager[object]:
    """Wait until no other process trains the judge of a file, and hold a lock on it."""
    lock = FileLock(path.with_suffix(".lock"))
    try:
        return lock.acquire(blocking=False)
    except Timeout:
        logger.info("another evaluation is training the same judge: waiting until it ends")
        return lock.acquire()


def _keep(judge: Judge, path: Path) -> None:
    try:
        with open_atomically(path) as file:
            torch.save(judge.state_dict(), file)
    except (OSError, RuntimeError) as error:  # torch's own for a full disk
        logger.warning("the judge is not kept for the next evaluation: %s", error)


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
