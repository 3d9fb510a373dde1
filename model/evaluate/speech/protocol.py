"""The protocol for speech: encode each split once, attack both latents, swap, probe, and write the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from seqviews.model.evaluate.encode import Encoded, encode, samples
from seqviews.model.evaluate.speech import panels
from seqviews.model.evaluate.speech.attacks import (
    FITTED,
    GROUPS,
    VerificationResults,
    error_rates,
    fit_projections,
    verify,
)
from seqviews.model.evaluate.speech.intervals import Estimate, differences, with_intervals
from seqviews.model.evaluate.speech.recordings import LEVELS, VECTORS, Recordings
from seqviews.model.evaluate.speech.sounds import Frames, SoundClasses, probe
from seqviews.model.evaluate.speech.swaps import Decoder, swap_metrics
from seqviews.model.evaluate.task import Evaluation, Task
from seqviews.model.evaluate.use import ignored_latents, latent_use
from seqviews.model.protocol import Posterior, missing_capabilities, require
from seqviews.model.scaling import Scale
from seqviews.pipeline.records import Batch

if TYPE_CHECKING:
    from seqviews.pipeline.stream.stream import SequenceStream

PLAYED = 3  # utterances
SPEAKER_HELD = 0.2  # an equal error rate; below it, a linear attack reads the speaker from z


def check_speech(task: Task) -> None:
    """Check that a run can be evaluated on segments of speech.

    Raises:
        ValueError: As `evaluate`.
    """
    require(task.method, "encode", purpose="error rates of speakers")
    if "speaker" not in task.stream.factors:
        raise ValueError(f"{task.info.name} has no factor speaker, which an error rate of speakers requires")
    if task.config.max_clips is not None:
        raise ValueError("max_clips is for clips only: of speech, pairs of all segments are scored")


def evaluate_speech(task: Task) -> Evaluation:
    """Evaluate a run that `check_speech` accepts on segments of speech.

    Raises:
        ValueError, ShardError: As `evaluate`.
    """
    info, method, scale, seed = task.info, task.method, task.scale, task.config.seed
    runs = [_Encoder("", method, scale)]
    if task.config.baseline is not None:
        runs.append(_Encoder("baseline_", *task.load(task.config.baseline)))
    segments = _encode(runs, task, task.stream, None)
    train = _encode(runs, task, task.open("train"), FITTED)
    sounds = SoundClasses(Frames.of_segments(train, seed).mel, seed)
    (results, estimates), *of_baseline = (_measure(run, task, segments, train, sounds) for run in runs)
    compared = with_intervals(differences(estimates, of_baseline[0][1])) if of_baseline else {}
    metrics = with_intervals(estimates)
    metrics |= probe(sounds, Frames.of_segments(train, seed), Frames.of_segments(segments, seed))
    shown, players = [panels.error_panel(results)], []
    if not missing_capabilities(method, "decode"):
        metrics |= latent_use(method, segments, task.device, seed)
        names = panels.choose_utterances(segments.keys, segments.factors["speaker"], seed=seed)
        utterances = panels.read_utterances(task.stream, segments, names)
        shown.insert(0, panels.cross_panel(method, scale, utterances, task.device))
        players = panels.players(method, scale, utterances[:PLAYED], info.features, task.device, seed)
    return task.finish(
        f"{len(segments)} segments of {len(set(segments.factors['speaker'].tolist()))} speakers",
        {**metrics, **{f"baseline_difference/{name}": value for name, value in compared.items()}},
        shown,
        panels.PURPOSES,
        warnings(metrics),
        players=players,
        tables=panels.TABLES,
        places=[(group, level) for group in GROUPS for level in LEVELS if f"{group}/{level}/gap" in metrics],
        baseline=compared,
        trained_on=task.config.split == "train",
        published=panels.PAPERS.get(info.name, []),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Encoder:
    """A method that encodes, the scale of its run, and the prefix of the names of what it encodes."""

    prefix: str
    method: Any
    scale: Scale


def _encode(runs: list[_Encoder], task: Task, stream: SequenceStream, maximum: int | None) -> Encoded:
    """Segments of a split: log-mels, and means and samples of every run's latents, in one pass."""
    own, *others = runs
    generators = [torch.Generator(task.device).manual_seed(task.config.seed) for _ in runs]

    def keep(x: Tensor, posterior: Posterior, batch: Batch) -> dict[str, Tensor]:
        kept = {"mel": batch.x, **samples(posterior, generators[0])}
        for run, generator in zip(others, generators[1:], strict=True):
            encoded: Posterior = run.method.encode(run.scale(batch.x.to(task.device)))
            kept |= {f"{run.prefix}static": encoded.static.mean, f"{run.prefix}dynamic": encoded.dynamic.mean}
            kept |= samples(encoded, generator, run.prefix)
        return kept

    return encode(own.method, stream, own.scale, task.device, keep=keep, maximum=maximum, progress=task.progress)


def _measure(
    run: _Encoder, task: Task, segments: Encoded, train: Encoded, sounds: SoundClasses
) -> tuple[VerificationResults, dict[str, Estimate]]:
    """What a run's latents say about speakers, and, if it can decode, whose voice and words its swaps have."""
    seed, recordings = task.config.seed, Recordings.of_segments(segments, run.prefix)
    projections = fit_projections(Recordings.of_segments(train, run.prefix))
    results = verify(recordings, projections, seed)
    estimates = error_rates(results)
    if not missing_capabilities(run.method, "decode"):
        decode = Decoder(run.method, run.scale, task.device)
        estimates |= swap_metrics(decode, segments, recordings, sounds, run.prefix, seed)
    return results, estimates


def warnings(metrics: Mapping[str, float]) -> list[str]:
    """Sentences on what the metrics of speech show to be wrong: a latent that is not used, or a speaker in z.

    Args:
        metrics: By the names of `Evaluation.metrics`.
    """
    sentences = ignored_latents(metrics)
    attacks = {name: metrics[f"all/utterance/eer/{name}/lda"] for name in ("z", "z_mean", "z_deviation")}
    worst = min(attacks, key=attacks.__getitem__)
    if attacks[worst] < SPEAKER_HELD:
        sentences.append(
            f"z holds the speaker: LDA on {VECTORS[worst]}, fitted on training speakers, verifies those of this split "
            f"with an equal error rate of {attacks[worst]:.1%} (utterances), while the cosine of z gives "
            f"{metrics['all/utterance/motion_eer']:.1%}; the mean MFCC, without training, has "
            f"{metrics['all/utterance/eer/mfcc/lda']:.1%} by the same attack"
        )
    content, untrained = metrics["all/segment/content_eer"], metrics["all/segment/eer/mfcc/cosine"]
    if content >= untrained:
        sentences.append(
            f"s verifies the speakers of segments no better than the mean MFCC does without training: {content:.1%} "
            f"compared with {untrained:.1%}"
        )
    of_s, of_z = (
        metrics.get(f"all/segment/swap/voice_of_{latent}", default) for latent, default in (("s", 1.0), ("z", 0.0))
    )
    if of_s <= of_z:
        sentences.append(
            f"swaps keep the voice of z: the judge names the speaker of z in {of_z:.0%} of segments, of s in {of_s:.0%}"
        )
    return sentences
