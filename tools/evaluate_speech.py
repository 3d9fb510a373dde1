"""What `evaluate` does with speech; it is no tool of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
import torch
from torch import nn

from seqviews.model.evaluate.clips import check_records
from seqviews.model.evaluate.encode import encode_split
from seqviews.model.evaluate.probe import Frames, probe
from seqviews.model.evaluate.speech import Verified, differences, error_rates, spoken_of, verify
from seqviews.model.protocol import SequenceModel
from seqviews.model.report.html import Picture
from seqviews.model.report.images import png
from seqviews.model.report.speech_gallery import (
    choose,
    cross_grid,
    error_figure,
    loudest,
    players,
    read_utterances,
)
from seqviews.model.report.speech_html import render_speech_report
from seqviews.model.scaling import MelScale
from seqviews.model.train.module import CONFIG
from seqviews.model.train.runs import load_model, load_scale
from seqviews.pipeline.records import Batch
from seqviews.pipeline.stream.stream import SequenceStream
from seqviews.tools.run import progress_bar

SHOWN, PLAYED = 8, 3
PROBED = 2000  # segments that the probe is fitted to, and as many that it is scored on
CROSS = (
    "Every s with every z of the segments at the edges: along a column the words should stay, along a row the voice. "
    "Mels from low to high, 0.01 s a column. As in the paper's Figure 13."
)
ERRORS = (
    "Pairs of one speaker that are refused, and of two speakers that are accepted, at every threshold of the cosine."
)
Progress: TypeAlias = Callable[[str, int, int], None]


def judge_speech(
    arguments: argparse.Namespace,
    network: nn.Module,
    stream: SequenceStream,
    train: SequenceStream,
    about: Mapping[str, str],
    curves: Sequence[Picture],
) -> tuple[dict[str, float], list[Picture], str]:
    """Figures, pictures and the report of a model of speech."""
    info, seed = stream.manifest.dataset, arguments.seed
    if "speaker" not in stream.factors:
        raise ValueError(f"{info.name} has no factor speaker, which an error rate of speakers needs")
    if arguments.max_clips is not None:
        raise ValueError("--max-clips is for clips only: of speech, pairs of all segments are scored")
    model, scale = cast(SequenceModel, network), _mel_scale(arguments.run, network, stream)
    assert info.features.mel is not None
    with progress_bar() as progress:
        verdict = _verdict(model, scale, stream, seed, progress)
        metrics = error_rates(verdict)
        if arguments.beside:
            other = load_model(arguments.beside).to(scale.mean.device)
            other_scale = _mel_scale(arguments.beside, other, stream)
            metrics |= differences(verdict, _verdict(cast(SequenceModel, other), other_scale, stream, seed, progress))
        metrics |= probe(_frames(model, scale, train), _frames(model, scale, stream), seed)
        keys, speakers = _keys(stream)
        utterances = read_utterances(stream, choose(keys, speakers, SHOWN, seed))
        segments = scale(torch.stack([loudest(utterance) for utterance in utterances]).to(scale.mean.device))
        sounds = players(model, scale, utterances[:PLAYED], info.features.mel.parameters, seed)
    pictures = [
        Picture("cross_generation", "Cross generation", CROSS, png(cross_grid(model, segments))),
        Picture("error_rates", "Error rates", ERRORS, png(error_figure(verdict))),
        *curves,
    ]
    about = {**about, "data": f"{about['data']}, {len(keys)} segments of {len(np.unique(speakers))} speakers"}
    if arguments.beside:
        about = {**about, "beside": str(arguments.beside)}
    configuration = (arguments.run / CONFIG).read_text(encoding="utf-8")
    return metrics, pictures, render_speech_report(info, metrics, pictures, sounds, about, configuration)


def _mel_scale(run: Path, network: nn.Module, stream: SequenceStream) -> MelScale:
    device = next(network.parameters()).device
    scale = load_scale(run).to(device)
    check_records(cast(SequenceModel, network), scale, stream.manifest.dataset, device)
    assert isinstance(scale, MelScale)
    return scale


def _verdict(
    model: SequenceModel, scale: MelScale, stream: SequenceStream, seed: int, progress: Progress
) -> dict[str, Verified]:
    return verify(spoken_of(encode_split(model, stream, scale.mean.device, scale, progress)), seed)


@torch.inference_mode()
def _frames(model: SequenceModel, scale: MelScale, batches: Iterable[Batch]) -> Frames:
    """The frames of the first segments that come, in a random order."""
    z, mel, count = [], [], 0
    for batch in batches:
        posterior = model.encode(scale(batch.x.to(scale.mean.device)))
        z.append(posterior.dynamic.mean.flatten(0, 1).cpu().numpy())
        mel.append(batch.x.flatten(0, 1).numpy())
        count += len(batch.keys)
        if count >= PROBED:
            break
    return Frames(np.concatenate(z), np.concatenate(mel))


def _keys(stream: SequenceStream) -> tuple[list[str], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Keys and speakers, in the order of the split."""
    keys: list[str] = []
    speakers: list[int] = []
    indices: list[int] = []
    for batch in stream:
        keys += batch.keys
        speakers += batch.factors["speaker"].tolist()
        indices += batch.indices.tolist()
    order = np.argsort(indices)
    return [keys[i] for i in order], np.array(speakers, np.int64)[order]
