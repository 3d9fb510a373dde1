"""The pictures and sounds of a report on speech: error curves, cross generation, and utterances with voices swapped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_curve
from torch import Tensor

from seqviews.model.evaluate.speech import GROUPS, LEVELS, Verdict, Verified
from seqviews.model.protocol import SequenceModel
from seqviews.model.report.audio import mel_to_wave, wav
from seqviews.model.report.images import MARGIN, WIDE_GAP, Image, caption, tile
from seqviews.model.scaling import MelScale
from seqviews.pipeline.manifest import MelParameters
from seqviews.pipeline.records import Batch

ZOOM = (2, 4)  # pixels of a mel, and of a frame
RANGE = 2.5  # deviations from the mean where the colours end
HEARD = 15  # segments of an utterance that is played
COLOURS = {"content": "#1f5fa8", "motion": "#c2570c"}
KINDS = {"content": "s, to know the speaker by: low is good", "motion": "z, not to know the speaker by: high is good"}


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """Consecutive segments of an utterance.

    Attributes:
        name: Speaker and sentence.
        x: `[N, T, n_mels]`, log-mels.
        converted: `[N, K, T, n_mels]` in other voices, or None.
    """

    name: str
    x: Tensor
    converted: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Player:
    """A sound of a report.

    Attributes:
        heading: Of the utterance it belongs to.
        caption: What is heard.
        wav: The file.
    """

    heading: str
    caption: str
    wav: bytes


def heatmap(segment: Tensor) -> Image:
    """A segment `[T, n_mels]` of mean 0 and deviation 1: time to the right, low frequencies at the bottom."""
    shares = (segment.detach().cpu().float().numpy().T[::-1] / RANGE + 1) / 2
    pixels = mpl.colormaps["magma"](shares.clip(0, 1), bytes=True)[..., :3]
    return np.ascontiguousarray(pixels.repeat(ZOOM[0], 0).repeat(ZOOM[1], 1))


@torch.inference_mode()
def cross_grid(model: SequenceModel, segments: Tensor) -> Image:
    """Every s with every z of some segments [P figure 13].

    The top row shows the real segments that the columns' z is from, the left column those that the rows' s is from.

    Args:
        model: Encodes and decodes.
        segments: `[N, T, n_mels]` of mean 0 and deviation 1.
    """
    posterior = model.encode(segments)
    real = [heatmap(segment) for segment in segments]
    rows: list[list[Image | None]] = [[None, *real]]
    for own, s in zip(real, posterior.static.mean, strict=True):
        rows.append([own, *map(heatmap, model.decode(s.expand(len(segments), -1), posterior.dynamic.mean))])
    height, width = real[0].shape[:2]
    texts = {
        (MARGIN + width + WIDE_GAP, MARGIN // 2): "real segments that the column's z (words) is taken from",
        (MARGIN, MARGIN + height + WIDE_GAP // 2): "real segments that the row's s (speaker) is taken from",
    }
    return caption(tile(rows, row_breaks={1}, column_breaks={1}), texts)


def error_figure(verdict: Verdict) -> Image:
    """Both error rates of both latents over the threshold: they cross at the equal error rate."""
    places = [f"{group}/{level}" for group in GROUPS for level in LEVELS if f"{group}/{level}/content" in verdict]
    figure = Figure(figsize=(11, 3.1 * len(places)), dpi=150, layout="constrained")
    grid = figure.subplots(len(places), 2, squeeze=False, sharey=True)
    for axes_of_place, place in zip(grid, places, strict=True):
        group, level = place.split("/")
        for axes, (latent, kind) in zip(axes_of_place, KINDS.items(), strict=True):
            one = verdict[f"{place}/{latent}"]
            thresholds, false_accepts, false_rejects = _errors(one)
            axes.plot(thresholds, false_accepts, color=COLOURS[latent], label="other speakers accepted")
            axes.plot(thresholds, false_rejects, color=COLOURS[latent], linestyle="--", label="the speaker refused")
            axes.axhline(one.rate, color="#555555", linewidth=1, linestyle=":", label=f"EER {one.rate:.1%}")
            axes.set_title(f"{kind}\n{GROUPS[group]}, {LEVELS[level]}", fontsize=10)
            axes.set_xlabel("threshold of the cosine", fontsize=9)
            axes.legend(fontsize=8, edgecolor="none")
            axes.spines[["top", "right"]].set_visible(False)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib has no types here
    return np.asarray(canvas.renderer.buffer_rgba())[..., :3].copy()


def _errors(one: Verified) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Thresholds, and at each the share of impostors accepted and of speakers refused; at most 2,000 of them."""
    accepted, found, thresholds = roc_curve(one.same, one.scores)
    shown = np.unique(np.linspace(1, len(thresholds) - 1, 2000).astype(int))  # the first threshold is infinite
    return thresholds[shown], accepted[shown], 1 - found[shown]


def choose(keys: Sequence[str], speakers: NDArray[np.int64], count: int, seed: int) -> list[str]:
    """Names of utterances of up to `count` speakers, one each, at random among those that are longest.

    Args:
        keys: Of the segments.
        speakers: int64 `[N]`, who speaks in each.
        count: How many.
        seed: Of the choice.
    """
    rng = np.random.default_rng(seed)
    names = np.array([key.rpartition("-")[0] for key in keys])
    chosen = []
    for speaker in rng.permutation(np.unique(speakers))[:count]:
        found, lengths = np.unique(names[speakers == speaker], return_counts=True)
        chosen.append(str(rng.choice(found[np.minimum(lengths, HEARD) == min(HEARD, lengths.max())])))
    return chosen


def read_utterances(batches: Iterable[Batch], names: Sequence[str]) -> list[Utterance]:
    """The first segments, in order, of the utterances of these names."""
    found: dict[str, dict[str, tuple[Tensor, Tensor | None]]] = {name: {} for name in names}
    for batch in batches:
        for i, key in enumerate(batch.keys):
            if (name := key.rpartition("-")[0]) in found:
                found[name][key] = batch.x[i], None if batch.converted is None else batch.converted[i]
    utterances = []
    for name, segments in found.items():
        parts = [segments[key] for key in sorted(segments)][:HEARD]
        others = [converted.float() for _, converted in parts if converted is not None]
        utterances.append(Utterance(name, torch.stack([x for x, _ in parts]), torch.stack(others) if others else None))
    return utterances


def loudest(utterance: Utterance) -> Tensor:
    """The loudest segment `[T, n_mels]`: no pause."""
    return utterance.x[int(utterance.x.mean(dim=(1, 2)).argmax())]


@torch.inference_mode()
def players(
    model: SequenceModel, scale: MelScale, utterances: Sequence[Utterance], mel: MelParameters, seed: int = 0
) -> list[Player]:
    """Each utterance as it is stored, in other voices, reconstructed, and with the mean s of the next one."""
    device = scale.mean.device
    posteriors = [model.encode(scale(utterance.x.to(device))) for utterance in utterances]
    played: list[Player] = []
    for i, (one, posterior) in enumerate(zip(utterances, posteriors, strict=True)):
        z, following = posterior.dynamic.mean, (i + 1) % len(utterances)
        other = posteriors[following].static.mean.mean(0).expand(len(z), -1)
        sounds = {"original: its stored mels": one.x}
        if one.converted is not None:
            voices = one.converted.unbind(1)
            sounds |= {f"converted by WORLD, voice {k}": voice for k, voice in enumerate(voices, start=1)}
        sounds["reconstruction: s and z of its own"] = scale.inverse(model.decode(posterior.static.mean, z))
        if following != i:
            text = f"swap: these words (z), the speaker (s) of {utterances[following].name}"
            sounds[text] = scale.inverse(model.decode(other, z))
        for text, mels in sounds.items():
            wave = mel_to_wave(mels.flatten(0, 1).cpu().numpy(), mel, seed)
            played.append(Player(one.name, text, wav(wave, mel.sample_rate)))
    return played
