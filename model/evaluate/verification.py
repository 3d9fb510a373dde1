"""Speaker verification by a latent: trials of two sequences, cosine scores, equal error rates and their intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

MOST_TRIALS = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """Pairs of recordings of which it is asked whether the same person speaks.

    Attributes:
        first: int64 `[N]`, one of each pair.
        second: int64 `[N]`, the other.
        speakers: int64 `[N, 2]`, who speaks in each.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    speakers: NDArray[np.int64]

    @property
    def same(self) -> NDArray[np.bool_]:
        """Whether it is the same person, `[N]`."""
        same: NDArray[np.bool_] = self.speakers[:, 0] == self.speakers[:, 1]
        return same

    def chosen(self, places: NDArray[np.int64]) -> Trials:
        """The trials at these places."""
        return Trials(self.first[places], self.second[places], self.speakers[places])


def make_trials(
    speakers: NDArray[np.int64],
    utterances: NDArray[np.int64],
    rng: np.random.Generator,
    most: int = MOST_TRIALS,
) -> Trials:
    """All pairs from different utterances, or `most` of them at random.

    Args:
        speakers: int64 `[N]`, who speaks in each recording, as numbers.
        utterances: int64 `[N]`, which utterance it is from.
        rng: Draws the pairs if there are too many; each at most once.
        most: How many at most.

    Raises:
        ValueError: If no pair, or every pair, is of the same speaker: there is no error rate then.
    """
    count = len(speakers)
    total = count * (count - 1) // 2
    if total <= 4 * most:
        first, second = np.triu_indices(count, 1)
    else:
        drawn = rng.integers(0, count, (4 * most, 2))
        pairs = np.unique(np.sort(drawn[drawn[:, 0] != drawn[:, 1]], axis=1), axis=0)
        first, second = rng.permutation(pairs).T
    kept = np.flatnonzero(utterances[first] != utterances[second])
    if len(kept) > most:
        kept = np.sort(rng.permutation(kept)[:most])
    trials = Trials(first[kept], second[kept], np.stack([speakers[first[kept]], speakers[second[kept]]], axis=1))
    if not 0 < trials.same.sum() < len(kept):
        raise ValueError("an equal error rate needs two speakers, and one of them with two utterances")
    return trials


def cosine_scores(latents: NDArray[np.float32], trials: Trials, block: int = 100_000) -> NDArray[np.float32]:
    """The cosine of the two latents of each trial, `[N]`, of latents `[recordings, D]`."""
    norms = np.linalg.norm(latents, axis=1, keepdims=True)
    directions = latents / np.maximum(norms, np.finfo(np.float32).tiny)
    scores = np.empty(len(trials.first), np.float32)
    for start in range(0, len(scores), block):
        part = slice(start, start + block)
        scores[part] = np.einsum("nd,nd->n", directions[trials.first[part]], directions[trials.second[part]])
    return scores


def equal_error_rate(
    scores: NDArray[np.float32], same: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> float:
    """Where as many impostors are accepted as speakers are refused, between the two nearest thresholds.

    Args:
        scores: `[N]`, higher for the same speaker.
        same: `[N]`, the truth.
        weights: How often each trial counts, `[N]`; once if None.

    >>> equal_error_rate(np.float32([0.9, 0.8, 0.3, 0.1]), np.array([True, False, True, False]))
    0.5
    """
    accepted, found, _ = roc_curve(same, scores, sample_weight=weights, drop_intermediate=True)
    gap = accepted - (1 - found)
    after = int(np.argmax(gap >= 0))
    if after == 0:
        return float(accepted[0])
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(accepted[after - 1] + share * (accepted[after] - accepted[after - 1]))


def bootstrap_rates(scores: NDArray[np.float32], trials: Trials, resamples: int, seed: int) -> NDArray[np.float64]:
    """Equal error rates with the speakers drawn anew, with replacement: `[resamples]`.

    A trial counts as often as both of its speakers were drawn: their product, or of one speaker how often he was. The
    same trials and seed draw the same speakers, so the rates of two models are paired.

    Args:
        scores: `[N]`, of each trial.
        trials: What was scored.
        resamples: How many times.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    people = int(trials.speakers.max()) + 1
    present = np.unique(trials.speakers)
    rates: list[float] = []
    while len(rates) < resamples:
        times = np.bincount(rng.choice(present, len(present)), minlength=people)[trials.speakers]
        weights = np.where(trials.same, times[:, 0], times[:, 0] * times[:, 1]).astype(np.float64)
        counted = weights > 0
        if len(np.unique(trials.same[counted])) == 2:  # else one speaker alone was drawn, or none with two utterances
            rates.append(equal_error_rate(scores[counted], trials.same[counted], weights[counted]))
    return np.array(rates)
