"""The verdict on speech: is the speaker in s and not in z, are the words in z [P 4.4]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqviews.model.evaluate.verification import (
    MOST_TRIALS,
    bootstrap_rates,
    cosine_scores,
    equal_error_rate,
    make_trials,
)

MANY = 10  # utterances of a speaker of whom enough is known
RESAMPLES = 200
RESAMPLED_TRIALS = 100_000  # at most, drawn from all: an interval is wide for want of speakers, not of trials
LATENTS = {"content": "s", "motion": "z"}
GROUPS = {"all": "all speakers", "many": f"speakers with {MANY} or more utterances"}
LEVELS = {"segment": "segments", "utterance": "utterances"}


@dataclass(frozen=True, slots=True, eq=False)
class Spoken:
    """Recordings, segments or utterances, by what is known of each.

    Attributes:
        content: float32 `[N, S]`, the mean of s.
        motion: float32 `[N, T * D]`, the mean of z as a flattened trajectory.
        speakers: int64 `[N]`, who speaks.
        utterances: int64 `[N]`, which utterance it is from.
    """

    content: NDArray[np.float32]
    motion: NDArray[np.float32]
    speakers: NDArray[np.int64]
    utterances: NDArray[np.int64]

    def chosen(self, kept: NDArray[np.bool_]) -> Spoken:
        """The recordings that `[N]` marks."""
        return Spoken(self.content[kept], self.motion[kept], self.speakers[kept], self.utterances[kept])

    def means(self) -> Spoken:
        """The utterances: means over their segments."""
        _, first, number, counts = np.unique(
            self.utterances, return_index=True, return_inverse=True, return_counts=True
        )

        def mean(latents: NDArray[np.float32]) -> NDArray[np.float32]:
            sums = np.zeros((len(counts), latents.shape[1]))
            np.add.at(sums, number, latents)
            return (sums / counts[:, None]).astype(np.float32)

        return Spoken(mean(self.content), mean(self.motion), self.speakers[first], self.utterances[first])


@dataclass(frozen=True, slots=True, eq=False)
class Verified:
    """How well a latent tells speakers apart.

    Attributes:
        scores: float32 `[N]`, the cosine of each trial.
        same: `[N]`, whether it is of one speaker.
        rate: The equal error rate.
        resampled: float64 `[RESAMPLES]`, the rate with the speakers drawn anew, on at most `RESAMPLED_TRIALS` of the
            trials; the same trials and draws for every latent.
    """

    scores: NDArray[np.float32]
    same: NDArray[np.bool_]
    rate: float
    resampled: NDArray[np.float64]


Verdict = Mapping[str, Verified]
"""By `group/level/latent`, of `GROUPS`, `LEVELS` and `LATENTS`."""


def spoken_of(latents: Mapping[str, NDArray[Any]]) -> Spoken:
    """The segments of a split, as `latents.encode_split` gives them with the factor `speaker`.

    The utterance is the key without its last part, which counts an utterance's segments.
    """
    sources = [key.rpartition("-")[0] for key in latents["keys"].tolist()]
    return Spoken(
        latents["static"],
        latents["dynamic"].reshape(len(sources), -1),
        latents["factor_speaker"],
        np.unique(sources, return_inverse=True)[1].astype(np.int64),
    )


def verify(spoken: Spoken, seed: int = 0, most: int = MOST_TRIALS, resamples: int = RESAMPLES) -> dict[str, Verified]:
    """Both latents, on all speakers and on those with many utterances, by segments and by utterances.

    Two runs that are verified on the same records with the same seed have the same trials and draws: they are paired.

    Args:
        spoken: The segments.
        seed: Of the trials and of the bootstrap over speakers.
        most: Trials at most; more are sampled.
        resamples: Of the bootstrap.

    Raises:
        ValueError: If there are no two speakers, or none has two utterances.
    """
    verdict: dict[str, Verified] = {}
    many = _has_many(spoken)
    groups = {"all": spoken}
    if len(np.unique(spoken.speakers[many])) > 1:
        groups["many"] = spoken.chosen(many)
    for group, segments in groups.items():
        for level, recordings in {"segment": segments, "utterance": segments.means()}.items():
            rng = np.random.default_rng(seed)
            trials = make_trials(recordings.speakers, recordings.utterances, rng, most)
            some = np.sort(rng.permutation(len(trials.first))[:RESAMPLED_TRIALS])
            for latent in LATENTS:
                scores = cosine_scores(getattr(recordings, latent), trials)
                resampled = bootstrap_rates(scores[some], trials.chosen(some), resamples, seed)
                rate = equal_error_rate(scores, trials.same)
                verdict[f"{group}/{level}/{latent}"] = Verified(scores, trials.same, rate, resampled)
    return verdict


def _has_many(spoken: Spoken) -> NDArray[np.bool_]:
    """Whether a recording is of a speaker with many utterances, `[N]`."""
    means = spoken.means()
    known, counts = np.unique(means.speakers, return_counts=True)
    return np.isin(spoken.speakers, known[counts >= MANY])


def error_rates(verdict: Verdict) -> dict[str, float]:
    """`group/level/content_eer`, `motion_eer` and `gap`, motion less content, each also `_low` and `_high`.

    Low and high are the ends of the 95 % interval over speakers.
    """
    figures: dict[str, float] = {}
    for name, one in verdict.items():
        figures |= _interval(f"{name}_eer", one.rate, one.resampled)
    for place in _places(verdict):
        content, motion = verdict[f"{place}/content"], verdict[f"{place}/motion"]
        figures |= _interval(f"{place}/gap", motion.rate - content.rate, motion.resampled - content.resampled)
    return figures


def differences(one: Verdict, other: Verdict) -> dict[str, float]:
    """What `error_rates` tells of `one`, less that of `other`, with paired intervals; keys begin with `less/`."""
    figures: dict[str, float] = {}
    for place in _places(one):
        rates, draws = {}, {}
        for latent in LATENTS:
            a, b = one[f"{place}/{latent}"], other[f"{place}/{latent}"]
            rates[latent], draws[latent] = a.rate - b.rate, a.resampled - b.resampled
            figures |= _interval(f"less/{place}/{latent}_eer", rates[latent], draws[latent])
        gap = rates["motion"] - rates["content"], draws["motion"] - draws["content"]
        figures |= _interval(f"less/{place}/gap", *gap)
    return figures


def _places(verdict: Verdict) -> list[str]:
    return list(dict.fromkeys(name.rpartition("/")[0] for name in verdict))


def _interval(name: str, value: float, resampled: NDArray[np.float64]) -> dict[str, float]:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return {name: value, f"{name}_low": float(low), f"{name}_high": float(high)}
