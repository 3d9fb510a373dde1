"""Estimate: a metric with its values on bootstrap samples of the speakers, for intervals and paired differences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A metric.

    Attributes:
        value: The metric.
        resampled: float64 `[resamples]`, the metric on each bootstrap sample of the speakers. Metrics that were made
            with the same seed are of the same samples, so that differences and ratios are paired.

    >>> Estimate(0.5, np.array([0.4, 0.6])) - Estimate(0.25, np.array([0.2, 0.4]))
    Estimate(value=0.25, resampled=array([0.2, 0.2]))
    """

    value: float
    resampled: NDArray[np.float64]

    def __sub__(self, other: Estimate) -> Estimate:
        """The difference, paired."""
        return Estimate(self.value - other.value, self.resampled - other.resampled)

    def __truediv__(self, other: Estimate) -> Estimate:
        """The ratio, paired; NaN where the other is 0."""
        resampled = np.full_like(self.resampled, np.nan)
        np.divide(self.resampled, other.resampled, out=resampled, where=other.resampled != 0)
        return Estimate(self.value / other.value if other.value else float("nan"), resampled)


def with_intervals(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """Each metric under its name, and the ends of its 95 % confidence interval under NAME_low and NAME_high.

    A ratio to 0 is no number, and is left out.
    """
    metrics: dict[str, float] = {}
    for name, estimate in estimates.items():
        if math.isnan(estimate.value) or np.isnan(estimate.resampled).all():
            continue
        low, high = np.nanquantile(estimate.resampled, [0.025, 0.975])
        metrics |= {name: estimate.value, f"{name}_low": float(low), f"{name}_high": float(high)}
    return metrics


def differences(estimates: Mapping[str, Estimate], baseline: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Each metric minus that of a baseline, paired."""
    return {name: estimate - baseline[name] for name, estimate in estimates.items()}


def speaker_weights(speakers: NDArray[np.int64], resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each item counts in each bootstrap sample of the speakers: float64 `[resamples, N]`.

    Args:
        speakers: int64 `[N, k]`: an item of k speakers counts as often as the product of the numbers of times that
            they were drawn; a speaker who is in it several times counts once.
        resamples: The number of samples.
        seed: Decides them; the same speakers and seed give the same samples.
    """
    rng = np.random.default_rng(seed)
    present, inverse = np.unique(speakers, return_inverse=True)
    places = inverse.reshape(speakers.shape)
    repeated = np.stack([(places[:, :i] == places[:, [i]]).any(axis=1) for i in range(speakers.shape[1])], axis=1)
    drawn = rng.choice(len(present), (resamples, len(present)))
    times = np.stack([np.bincount(row, minlength=len(present)) for row in drawn]).astype(np.float64)
    weights: NDArray[np.float64] = np.where(repeated, 1.0, times[:, places]).prod(axis=2)
    return weights
