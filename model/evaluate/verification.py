"""Speaker verification with a latent: trials, cosine scores, equal error rates and their confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

MAX_TRIALS = 1_000_000
BLOCK = 2_000_000  # trials, over several bootstrap samples, that are weighted at a time


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """Pairs of recordings, each of the same or of different speakers.

    Attributes:
        first: int64 `[N]`, the first recording of each pair.
        second: int64 `[N]`, the second recording.
        speakers: int64 `[N, 2]`, their speakers.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    speakers: NDArray[np.int64]

    @property
    def same(self) -> NDArray[np.bool_]:
        """Whether both recordings are of the same speaker, `[N]`."""
        same: NDArray[np.bool_] = self.speakers[:, 0] == self.speakers[:, 1]
        return same

    def select(self, trials: NDArray[np.int64]) -> Trials:
        """The trials of these numbers."""
        return Trials(self.first[trials], self.second[trials], self.speakers[trials])


def make_trials(
    speakers: NDArray[np.int64], utterances: NDArray[np.int64], rng: np.random.Generator, maximum: int = MAX_TRIALS
) -> Trials:
    """All pairs of recordings from different utterances, or a random sample of at most `maximum` of them.

    `speakers` and `utterances`, int64 `[N]`, are those of each recording; `rng` draws without replacement.

    Raises:
        ValueError: If no pair, or every pair, is of the same speaker, so that there is no error rate.
    """
    count = len(speakers)
    total = count * (count - 1) // 2
    if total <= 4 * maximum:
        first, second = np.triu_indices(count, 1)
    else:
        drawn = rng.integers(0, count, (4 * maximum, 2))
        pairs = np.unique(np.sort(drawn[drawn[:, 0] != drawn[:, 1]], axis=1), axis=0)
        first, second = rng.permutation(pairs).T
    kept = np.flatnonzero(utterances[first] != utterances[second])
    if len(kept) > maximum:
        kept = np.sort(rng.permutation(kept)[:maximum])
    trials = Trials(first[kept], second[kept], np.stack([speakers[first[kept]], speakers[second[kept]]], axis=1))
    if not 0 < trials.same.sum() < len(kept):
        raise ValueError("an equal error rate requires two speakers, one of them with two utterances")
    return trials


def cosine_scores(latents: NDArray[np.float32], trials: Trials, block: int = 100_000) -> NDArray[np.float32]:
    """The cosine similarity of the two latents of each trial, `[N]`, of latents `[recordings, D]`."""
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
    """The rate at which false acceptances and false rejections are equal, between the two nearest thresholds.

    Args:
        scores: `[N]`, higher for the same speaker.
        same: `[N]`, whether it is the same speaker.
        weights: How often each trial counts, `[N]`; once if None.

    >>> equal_error_rate(np.float32([0.9, 0.8, 0.3, 0.1]), np.array([True, False, True, False]))
    0.5
    """
    accepted, found, _ = roc_curve(same, scores, sample_weight=weights, drop_intermediate=True)
    return _crossing(accepted, found)


def bootstrap_rates(scores: NDArray[np.float32], trials: Trials, resamples: int, seed: int) -> NDArray[np.float64]:
    """Equal error rates of bootstrap samples of the speakers, `[resamples]`.

    The weight of a trial of two speakers is the product of the numbers of times that they were drawn; that of a trial
    of one speaker, the number of times that this speaker was. The same trials and seed draw the same speakers, so the
    rates of two methods are paired. `scores` `[N]` are those of the trials.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(-scores, kind="stable")
    present, places = np.unique(trials.speakers[order], return_inverse=True)
    first, second = places.reshape(-1, 2).T
    same = trials.same[order]
    last_of_ties = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    block = max(1, BLOCK // len(order))
    rates: list[float] = []
    while len(rates) < resamples:
        drawn = rng.choice(len(present), (min(block, resamples), len(present)))
        times = np.stack([np.bincount(row, minlength=len(present)) for row in drawn]).astype(np.float64)
        weights = times[:, first] * np.where(same, 1.0, times[:, second])
        accepted, found = (np.cumsum(weights * kind, axis=1)[:, last_of_ties] for kind in (~same, same))
        for false, true in zip(accepted, found, strict=True):
            if false[-1] and true[-1]:  # otherwise there is no rate
                rates.append(_crossing(np.append(0.0, false / false[-1]), np.append(0.0, true / true[-1])))
    return np.array(rates[:resamples])


def _crossing(accepted: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Where the rates of false acceptances and of false rejections, 1 - found, are equal, along a ROC curve."""
    gap = accepted - (1 - found)
    after = int(np.argmax(gap >= 0))
    if after == 0:
        return float(accepted[0])
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(accepted[after - 1] + share * (accepted[after] - accepted[after - 1]))
