"""Are the words in z: a linear classifier from a frame's z to what the frame sounds like."""

from __future__ import annotations

from dataclasses import dataclass

import librosa
import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SOUNDS, COEFFICIENTS = 32, 13


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Frames of speech, one behind the other.

    Attributes:
        z: float32 `[N, D]`, the mean of each frame's dynamic latent.
        mel: float32 `[N, n_mels]`, its log-mel.
    """

    z: NDArray[np.float32]
    mel: NDArray[np.float32]


def probe(train: Frames, test: Frames, seed: int = 0) -> dict[str, float]:
    """The accuracy of linear classifiers of sounds, from z and, beside it, from the log-mel itself.

    The sounds are 32 clusters, by k-means on `train`, of 13 MFCC of a frame, each of deviation 1.

    Args:
        train: What clusters and classifiers are fitted to.
        test: What they are scored on.
        seed: Of the clusters.

    Returns:
        `probe/z` and `probe/mel`, from 0 to 1.
    """
    clusters = make_pipeline(StandardScaler(), KMeans(SOUNDS, n_init=1, random_state=seed)).fit(mfcc(train.mel))
    sounds, true = clusters.predict(mfcc(train.mel)), clusters.predict(mfcc(test.mel))
    scores: dict[str, float] = {}
    for name in ("z", "mel"):
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, tol=1e-3))
        classifier.fit(getattr(train, name), sounds)
        scores[f"probe/{name}"] = float(classifier.score(getattr(test, name), true))
    return scores


def mfcc(mel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mel-frequency cepstral coefficients `[N, 13]` of log-mel frames `[N, n_mels]`."""
    coefficients: NDArray[np.float32] = librosa.feature.mfcc(S=mel.T, n_mfcc=COEFFICIENTS)
    return coefficients.T
