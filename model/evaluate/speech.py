"""Speaker verification with both latents: the speaker should be in s and not in z [P 4.4]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from seqviews.model.evaluate import verification
from seqviews.model.evaluate.encode import Encoded
from seqviews.model.evaluate.verification import MAX_TRIALS, equal_error_rate

MANY = 10  # utterances of a speaker in the group "many"
RESAMPLES = 200
RESAMPLED_TRIALS = 100_000  # the width of an interval depends on the number of speakers, hardly on that of trials
LATENTS = {"content": "s", "motion": "z"}
GROUPS = {"all": "all speakers", "many": f"speakers with {MANY} or more utterances"}
LEVELS = {"segment": "segments", "utterance": "utterances"}


@dataclass(frozen=True, slots=True, eq=False)
class SpeechLatents:
    """The latents of recordings, which are segments or utterances.

    Attributes:
        content: float32 `[N, S]`, the mean of s.
        motion: float32 `[N, T * D]`, the mean of z as a flattened trajectory.
        speakers: int64 `[N]`, the speaker of each recording.
        utterances: int64 `[N]`, the utterance that it is from.
    """

    content: NDArray[np.float32]
    motion: NDArray[np.float32]
    speakers: NDArray[np.int64]
    utterances: NDArray[np.int64]

    @classmethod
    def of_segments(cls, segments: Encoded, prefix: str = "") -> SpeechLatents:
        """The latents of segments with the factor `speaker`, from the values `static` and `dynamic` with a prefix."""
        static, dynamic = segments.values[f"{prefix}static"], segments.values[f"{prefix}dynamic"]
        utterances = np.unique([utterance_of(key) for key in segments.keys], return_inverse=True)[1].astype(np.int64)
        return cls(static.numpy(), dynamic.flatten(1).numpy(), segments.factors["speaker"].numpy(), utterances)

    def select(self, kept: NDArray[np.bool_]) -> SpeechLatents:
        """The recordings that `[N]` marks."""
        return SpeechLatents(self.content[kept], self.motion[kept], self.speakers[kept], self.utterances[kept])

    def utterance_means(self) -> SpeechLatents:
        """The utterances, each the mean over its segments."""
        found = np.unique(self.utterances, return_index=True, return_inverse=True, return_counts=True)
        _, first, number, counts = found

        def mean(latents: NDArray[np.float32]) -> NDArray[np.float32]:
            sums = np.zeros((len(counts), latents.shape[1]))
            np.add.at(sums, number, latents)
            return (sums / counts[:, None]).astype(np.float32)

        return SpeechLatents(mean(self.content), mean(self.motion), self.speakers[first], self.utterances[first])


def utterance_of(key: str) -> str:
    """The utterance of a segment: its key without the last part, which counts the segments of an utterance.

    >>> utterance_of("dr1-fcjf0-sa1-0003")
    'dr1-fcjf0-sa1'
    """
    return key.rpartition("-")[0]


@dataclass(frozen=True, slots=True, eq=False)
class VerificationResult:
    """How well a latent verifies speakers.

    Attributes:
        scores: float32 `[N]`, the cosine similarity of each trial.
        same: `[N]`, whether both recordings are of one speaker.
        rate: The equal error rate.
        resampled: float64 `[RESAMPLES]`, the rate of each bootstrap sample of the speakers, on at most
            `RESAMPLED_TRIALS` trials; trials and samples are the same for every latent.
    """

    scores: NDArray[np.float32]
    same: NDArray[np.bool_]
    rate: float
    resampled: NDArray[np.float64]


VerificationResults: TypeAlias = Mapping[str, VerificationResult]
"""By `group/level/latent`, of `GROUPS`, `LEVELS` and `LATENTS`."""


def verify(
    segments: SpeechLatents, seed: int = 0, maximum: int = MAX_TRIALS, resamples: int = RESAMPLES
) -> dict[str, VerificationResult]:
    """Verify speakers with both latents, in both groups of speakers, by segments and by utterances.

    Two methods that are evaluated on the same records with the same seed share trials and samples: they are paired.

    Args:
        segments: The segments of a split.
        seed: Decides the trials and the bootstrap over speakers.
        maximum: The number of trials above which a sample of so many is used.
        resamples: The number of bootstrap samples.

    Raises:
        ValueError: If there are no two speakers, or none has two utterances.
    """
    groups = {"all": segments}
    many = _has_many_utterances(segments)
    if len(np.unique(segments.speakers[many])) > 1:
        groups["many"] = segments.select(many)
    results: dict[str, VerificationResult] = {}
    for group, members in groups.items():
        for level, recordings in {"segment": members, "utterance": members.utterance_means()}.items():
            rng = np.random.default_rng(seed)
            trials = verification.make_trials(recordings.speakers, recordings.utterances, rng, maximum)
            drawn = np.sort(rng.permutation(len(trials.first))[:RESAMPLED_TRIALS])
            for latent in LATENTS:
                scores = verification.cosine_scores(getattr(recordings, latent), trials)
                resampled = verification.bootstrap_rates(scores[drawn], trials.select(drawn), resamples, seed)
                rate = equal_error_rate(scores, trials.same)
                results[f"{group}/{level}/{latent}"] = VerificationResult(scores, trials.same, rate, resampled)
    return results


def _has_many_utterances(segments: SpeechLatents) -> NDArray[np.bool_]:
    """Whether a recording is of a speaker with at least `MANY` utterances, `[N]`."""
    speakers, counts = np.unique(segments.utterance_means().speakers, return_counts=True)
    return np.isin(segments.speakers, speakers[counts >= MANY])


def error_rates(results: VerificationResults, baseline: VerificationResults | None = None) -> dict[str, float]:
    """`group/level/content_eer`, `motion_eer` and `gap`, motion minus content, each also with `_low` and `_high`.

    Low and high are the ends of the 95 % confidence interval over speakers. With a baseline, all are differences from
    it, and the intervals are paired.
    """
    rates = {f"{name}_eer": (result.rate, result.resampled) for name, result in results.items()}
    for name, result in (baseline or {}).items():
        rate, resampled = rates[f"{name}_eer"]
        rates[f"{name}_eer"] = rate - result.rate, resampled - result.resampled
    for place in dict.fromkeys(name.rpartition("/")[0] for name in results):
        (content, resampled_content), (motion, resampled) = rates[f"{place}/content_eer"], rates[f"{place}/motion_eer"]
        rates[f"{place}/gap"] = motion - content, resampled - resampled_content
    metrics: dict[str, float] = {}
    for name, (value, resampled) in rates.items():
        low, high = np.quantile(resampled, [0.025, 0.975])
        metrics |= {name: value, f"{name}_low": float(low), f"{name}_high": float(high)}
    return metrics
