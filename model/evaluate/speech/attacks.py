"""Speaker verification with each latent, also by attackers that were fitted on training speakers [P 4.4]."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from seqviews.model.evaluate import verification
from seqviews.model.evaluate.speech.intervals import Estimate
from seqviews.model.evaluate.speech.recordings import LEVELS, Recordings
from seqviews.model.evaluate.verification import MAX_TRIALS, equal_error_rate

MANY = 10  # utterances of a speaker in the group "many"
RESAMPLES = 200
RESAMPLED_TRIALS = 100_000  # the width of an interval depends on the number of speakers, hardly on that of trials
GROUPS = {"all": "all speakers", "many": f"speakers with {MANY} or more utterances"}
SCORERS = {"cosine": "cosine", "lda": "LDA", "linear": "linear classifier"}
UNTRAINED = ("mfcc", "mel")
PUBLISHED = {"content": "s/cosine", "motion": "z/cosine"}
"""The two error rates of the paper, by their names there."""
FITTED = 20_000  # segments that an attacker is fitted to
COMPONENTS = 256  # principal components that the linear classifier gets

Projection: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Vectors `[N, D]` to vectors whose cosine is the score of a trial; affine, so it may come before or after a mean."""


@dataclass(frozen=True, slots=True, eq=False)
class VerificationResult:
    """How well a vector verifies speakers.

    Attributes:
        scores: float32 `[N]`, the score of each trial.
        same: `[N]`, whether both recordings are of one speaker.
        rate: The equal error rate, and that of each bootstrap sample of the speakers, on at most `RESAMPLED_TRIALS`
            trials. Trials and samples are the same for every vector and scorer.
    """

    scores: NDArray[np.float32]
    same: NDArray[np.bool_]
    rate: Estimate


VerificationResults: TypeAlias = Mapping[str, VerificationResult]
"""By `group/level/vector/scorer`, of `GROUPS`, `LEVELS`, `VECTORS` and `SCORERS`."""


def fit_projections(train: Recordings) -> dict[str, Projection]:
    """By `vector/scorer`, what is done to a vector before the cosine.

    - `cosine`: nothing; the baselines without training are standardised.
    - `lda`: Linear discriminant analysis of the training speakers.
    - `linear`: The logits that a multinomial logistic regression, on at most `COMPONENTS` principal components, gives
      the training speakers.

    Args:
        train: Segments of the training split.
    """
    projections: dict[str, Projection] = {}
    for name, vectors in train.vectors.items():
        projections[f"{name}/cosine"] = StandardScaler().fit(vectors).transform if name in UNTRAINED else _unchanged
        projections[f"{name}/lda"] = LinearDiscriminantAnalysis().fit(vectors, train.speakers).transform
        classifier = make_pipeline(
            StandardScaler(),
            PCA(min(COMPONENTS, *vectors.shape), random_state=0),
            LogisticRegression(C=0.1, tol=1e-2, max_iter=200),
        ).fit(vectors, train.speakers)
        projections[f"{name}/linear"] = _logits(classifier.decision_function)
    return projections


def _unchanged(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors


def _logits(decision: Callable[[NDArray[np.float32]], NDArray[np.float64]]) -> Projection:
    """Logits with mean 0 over the classes: a constant added to all of them means nothing."""

    def project(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = decision(vectors)
        if logits.ndim == 1:  # of two classes scikit-learn gives the difference
            logits = np.stack([-logits, logits], axis=1)
        centred: NDArray[np.float32] = (logits - logits.mean(axis=1, keepdims=True)).astype(np.float32)
        return centred

    return project


def verify(
    segments: Recordings,
    projections: Mapping[str, Projection],
    seed: int = 0,
    maximum: int = MAX_TRIALS,
    resamples: int = RESAMPLES,
) -> dict[str, VerificationResult]:
    """Verify speakers in both groups of speakers, by segments and by utterances.

    Two methods that are evaluated on the same records with the same seed share trials and samples: they are paired.

    Args:
        segments: The segments of a split.
        projections: From `fit_projections`.
        seed: Decides the trials and the bootstrap over speakers.
        maximum: The number of trials above which a sample of so many is used.
        resamples: The number of bootstrap samples.

    Raises:
        ValueError: If there are no two speakers, or none has two utterances.
    """
    results: dict[str, VerificationResult] = {}
    for group, kept in speaker_groups(segments).items():
        members = segments.select(kept)
        for level, recordings in zip(LEVELS, [members, members.utterance_means()], strict=True):
            rng = np.random.default_rng(seed)
            trials = verification.make_trials(recordings.speakers, recordings.utterances, rng, maximum)
            drawn = np.sort(rng.permutation(len(trials.first))[:RESAMPLED_TRIALS])
            for name, project in projections.items():
                scores = verification.cosine_scores(project(recordings.vectors[name.partition("/")[0]]), trials)
                resampled = verification.bootstrap_rates(scores[drawn], trials.select(drawn), resamples, seed)
                rate = Estimate(equal_error_rate(scores, trials.same), resampled)
                results[f"{group}/{level}/{name}"] = VerificationResult(scores, trials.same, rate)
    return results


def speaker_groups(segments: Recordings) -> dict[str, NDArray[np.bool_]]:
    """Which segments are of the speakers of each of `GROUPS`, `[N]`; without "many" if it has fewer than two."""
    speakers, counts = np.unique(segments.utterance_means().speakers, return_counts=True)
    many = speakers[counts >= MANY]
    groups = {"all": np.ones(len(segments.speakers), bool)}
    return groups | ({"many": np.isin(segments.speakers, many)} if len(many) > 1 else {})


def error_rates(results: VerificationResults) -> dict[str, Estimate]:
    """`group/level/eer/vector/scorer`; and under the paper's names `content_eer`, `motion_eer` and their `gap`."""
    rates: dict[str, Estimate] = {}
    for name, result in results.items():
        group, level, vector, scorer = name.split("/")
        rates[f"{group}/{level}/eer/{vector}/{scorer}"] = result.rate
    for place in dict.fromkeys("/".join(name.split("/")[:2]) for name in results):
        content, motion = (results[f"{place}/{name}"].rate for name in PUBLISHED.values())
        rates |= {f"{place}/content_eer": content, f"{place}/motion_eer": motion, f"{place}/gap": motion - content}
    return rates
