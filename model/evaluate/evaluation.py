"""Evaluate the run of a training on a prepared data set: metrics, images and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from seqviews.model.evaluate.clips import panels, protocol
from seqviews.model.evaluate.clips.factor_probe import FITTED, PROBED, probe_factors
from seqviews.model.evaluate.clips.identity import unseen_factors
from seqviews.model.evaluate.clips.judge_training import cached_judge
from seqviews.model.evaluate.clips.order import ORDER_STEPS, train_order, with_order
from seqviews.model.evaluate.encode import Encoded, encode, no_progress, samples
from seqviews.model.evaluate.speech.protocol import check_speech, evaluate_speech
from seqviews.model.evaluate.task import EvaluateConfig, Evaluation, Task
from seqviews.model.evaluate.use import ignored_latents, latent_use
from seqviews.model.protocol import Posterior
from seqviews.model.train.runs import Run
from seqviews.pipeline.records import Batch, Progress
from seqviews.pipeline.stream.recordset import check_agreement

if TYPE_CHECKING:
    from seqviews.pipeline.storage.folder import Folder
    from seqviews.pipeline.stream.stream import SequenceStream

__all__ = ["EvaluateConfig", "Evaluation", "evaluate"]

WEAK_JUDGE = 0.95  # accuracy on real clips


def evaluate(
    run: Run, data: Folder | Path | str, config: EvaluateConfig | None = None, progress: Progress = no_progress
) -> Evaluation:
    """Evaluate a run, on a GPU if there is one.

    Args:
        run: A training that has saved a checkpoint; it is not changed.
        data: Folder or URL of a prepared data set, of the kind that the run was trained on.
        config: How to evaluate it; the default configuration if None.
        progress: Called now and then with a task, how much of it is done, and how much there is.

    Raises:
        ValueError: If the data set does not fit the run or has no labels, its splits do not agree, or the method lacks
            the capabilities that every evaluation requires.
        ShardError: If a shard contradicts the manifest.
    """
    task = check_evaluation(run, data, config, progress)
    return _evaluate_clips(task) if task.info.modality == "clip" else evaluate_speech(task)


def check_evaluation(
    run: Run, data: Folder | Path | str, config: EvaluateConfig | None = None, progress: Progress = no_progress
) -> Task:
    """Check that a run, trained or not, can be evaluated, before any record is read; arguments as of `evaluate`.

    Raises:
        ValueError, ShardError: As `evaluate`.
    """
    task = Task(run, data, config or EvaluateConfig(), progress)
    if task.info.modality == "segment":
        check_speech(task)
        return task
    if task.config.baseline is not None:
        raise ValueError("a baseline can be given for speech only")
    protocol.possible_settings(task.method)
    if not task.stream.factors:
        raise ValueError(f"{task.info.name} has no factors, which a judge is trained on")
    sets = [stream.sets[0] for stream in (task.stream, task.open("train"), task.open("val"))]
    check_agreement(sets, task.stream.factors, task.stream.excerpt)
    return task


def _evaluate_clips(task: Task) -> Evaluation:
    config, info, method, scale, device = task.config, task.info, task.method, task.scale, task.device
    settings = protocol.possible_settings(method)
    train, val = task.open("train", "random"), task.open("val")
    progress, seed, size = task.progress, config.seed, config.batch_size
    steps, maximum = config.judge_steps, config.max_clips
    options: dict[str, Any] = {"seed": seed, "device": device, "progress": progress}
    judge = cached_judge(config.judges, train, val, steps=steps, **options)
    order = train_order(judge, task.open("train", "random"), steps=min(ORDER_STEPS, steps or ORDER_STEPS), **options)
    predict = with_order(judge, order)
    real = protocol.judge_real_clips(method, predict, task.stream, scale, maximum=maximum, **options)
    options |= {"batch_size": size, "identities": unseen_factors(judge, info, real.factors)}
    metrics = protocol.score(method, predict, real, info, **options)
    shown = []
    if "reconstruction" in settings:
        metrics |= latent_use(method, real, device, seed)
        metrics |= probe_factors(_encode(task, task.open("train")), real)
        shown = panels.clip_panels(method, real, task.stream, scale, device, seed)
    if "sampled" in settings:
        shown.append(panels.sampled_panel(method, info, device, seed))
    return task.finish(
        f"{len(real)} of {len(task.stream.manifest)} clips",
        metrics,
        shown,
        protocol.PURPOSES,
        [*ignored_latents(metrics), *_weak_factors(metrics, task.stream.factors)],
        probed=PROBED if "reconstruction" in settings else {},
        settings={name: protocol.SETTINGS[name] for name in (*protocol.OF_REAL_CLIPS, *settings)},
        published=[row for row in panels.PUBLISHED.get(info.name, []) if row[0] in settings],
    )


def _encode(task: Task, stream: SequenceStream) -> Encoded:
    """Clips of a split that probes are fitted to, each latent by its mean and by a sample."""
    generator = torch.Generator(task.device).manual_seed(task.config.seed)

    def keep(x: Tensor, posterior: Posterior, batch: Batch) -> dict[str, Tensor]:
        return samples(posterior, generator)

    return encode(task.method, stream, task.scale, task.device, keep=keep, maximum=FITTED, progress=task.progress)


def _weak_factors(metrics: Mapping[str, float], factors: Sequence[str]) -> list[str]:
    return [
        f"the judge is right about {factor} in only {accuracy:.0%} of real clips, so the metrics of {factor} are "
        "unreliable; train the judge for longer (judge_steps)"
        for factor in factors
        if (accuracy := metrics.get(f"real/{factor}/accuracy", 1.0)) < WEAK_JUDGE
    ]
