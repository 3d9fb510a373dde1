"""The images and sounds of a report on speech: which utterances they are of, their headings and captions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from seqviews.model.evaluate.encode import Encoded
from seqviews.model.evaluate.speech.attacks import GROUPS, PUBLISHED, SCORERS, VerificationResults
from seqviews.model.evaluate.speech.recordings import LEVELS, VECTORS, utterance_of
from seqviews.model.report.audio import Player, players_of
from seqviews.model.report.curves import error_figure
from seqviews.model.report.grids import cross_grid
from seqviews.model.report.html import Panel
from seqviews.model.scaling import Scale
from seqviews.pipeline.features import Features

if TYPE_CHECKING:
    from seqviews.pipeline.stream.stream import SequenceStream

SHOWN = 8  # speakers
MAX_SEGMENTS = 15  # of an utterance that is played
PURPOSES = {"decode": "swaps, cross generation and sounds"}
"""What is left out without a capability."""
PAPERS = {"timit": [("C-DSVAE, paper, Table 4", 0.0403, 0.3181), ("DSVAE, paper, Table 6", 0.0564, 0.1920)]}
"""Published results by data set: source, content EER, motion EER; each by the protocol of its paper."""
TABLES = {"groups": GROUPS, "levels": LEVELS, "vectors": VECTORS, "scorers": SCORERS}
KINDS = {"content": "s, to verify the speaker: low is good", "motion": "z, not to verify the speaker: high is good"}
CROSS = (
    "Every s with every z of the segments at the edges. If the decoder uses both, the words stay along a column and "
    "the voice along a row. If all rows are the same, it ignores s. Mels from low to high, 0.01 s a column. As in the "
    "paper's Figure 13."
)
ERRORS = "Pairs of one speaker that are rejected, and of two that are accepted, at every threshold of the cosine."


@dataclass(frozen=True, slots=True, eq=False)
class SpokenSegments:
    """Consecutive segments of an utterance: log-mels `[N, T, n_mels]`, and `[N, K, T, n_mels]` in other voices."""

    name: str
    x: Tensor
    converted: Tensor | None

    def loudest(self) -> Tensor:
        """The loudest segment `[T, n_mels]`, which is not a pause."""
        return self.x[int(self.x.mean(dim=(1, 2)).argmax())]


def choose_utterances(keys: Sequence[str], speakers: Tensor, count: int = SHOWN, seed: int = 0) -> list[str]:
    """One utterance for each of up to `count` speakers, by a seed, among the longest of each.

    `keys` and `speakers`, int64 `[N]`, are those of the segments.
    """
    rng = np.random.default_rng(seed)
    names, of_segments = np.array([utterance_of(key) for key in keys]), speakers.numpy()
    chosen = []
    for speaker in rng.permutation(np.unique(of_segments))[:count]:
        found, lengths = np.unique(names[of_segments == speaker], return_counts=True)
        longest = found[np.minimum(lengths, MAX_SEGMENTS) == min(MAX_SEGMENTS, lengths.max())]
        chosen.append(str(rng.choice(longest)))
    return chosen


def read_utterances(stream: SequenceStream, segments: Encoded, names: Sequence[str]) -> list[SpokenSegments]:
    """The first segments, in order, of the utterances of these names in a split, all of whose segments are encoded."""
    rows: dict[str, list[int]] = {name: [] for name in names}
    for row in sorted(range(len(segments)), key=segments.keys.__getitem__):
        if (name := utterance_of(segments.keys[row])) in rows and len(rows[name]) < MAX_SEGMENTS:
            rows[name].append(row)
    chosen = segments.indices[list(itertools.chain(*rows.values()))]
    batch = stream.sets[0].batch(chosen, excerpt=stream.excerpt)
    lengths = [len(found) for found in rows.values()]
    parts = torch.split(batch.x, lengths)
    converted: Sequence[Tensor | None] = [None] * len(parts)
    if batch.converted is not None:
        converted = torch.split(batch.converted.float(), lengths)
    return [SpokenSegments(*utterance) for utterance in zip(rows, parts, converted, strict=True)]


@torch.inference_mode()
def cross_panel(method: Any, scale: Scale, utterances: Sequence[SpokenSegments], device: torch.device | str) -> Panel:
    """Cross generation of the loudest segments of some utterances."""
    segments = scale(torch.stack([utterance.loudest() for utterance in utterances]).to(device))
    return Panel.of_grid("cross_generation", "Cross generation", CROSS, cross_grid(method, segments))


def error_panel(results: VerificationResults) -> Panel:
    """Both error rates of both latents, in every group and level, over the threshold."""
    titles = {
        f"{group}/{level}/{PUBLISHED[latent]}": f"{KINDS[latent]}\n{GROUPS[group]}, {LEVELS[level]}"
        for group, level, latent in itertools.product(GROUPS, LEVELS, PUBLISHED)
    }
    figure = error_figure({name: (r.scores, r.same, r.rate.value) for name, r in results.items()}, titles)
    return Panel.of_image("error_rates", "Error rates", ERRORS, figure)


@torch.inference_mode()
def players(
    method: Any,
    scale: Scale,
    utterances: Sequence[SpokenSegments],
    features: Features,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> list[Player]:
    """Each utterance as stored, in other voices, reconstructed, and with the mean s of the next one.

    Args:
        method: In evaluation mode, on the device, as the scale is.
        scale: The scale of the run.
        utterances: The utterances.
        features: Those of the data set.
        device: Where to compute.
        seed: Decides the phases of the sounds.
    """
    assert features.mel is not None
    posteriors = [method.encode(scale(utterance.x.to(device))) for utterance in utterances]
    played: list[Player] = []
    for i, (utterance, posterior) in enumerate(zip(utterances, posteriors, strict=True)):
        z, following = posterior.dynamic.mean, (i + 1) % len(utterances)
        sounds = {"original: its stored mels": utterance.x}
        if utterance.converted is not None:
            voices = utterance.converted.unbind(1)
            sounds |= {f"converted by WORLD, voice {k}": voice for k, voice in enumerate(voices, start=1)}
        sounds["reconstruction: s and z of its own"] = scale.inverse(method.decode(posterior.static.mean, z))
        if following != i:
            other = posteriors[following].static.mean.mean(0).expand(len(z), -1)
            caption = f"swap: z of this utterance, s of {utterances[following].name}"
            sounds[caption] = scale.inverse(method.decode(other, z))
        arrays = {caption: mels.flatten(0, 1).cpu().numpy() for caption, mels in sounds.items()}
        played += players_of(utterance.name, arrays, features.mel.parameters, seed)
    return played
