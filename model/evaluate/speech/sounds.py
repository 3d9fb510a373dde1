"""The sound of a frame, as one of 32 classes, and whether z holds it."""

from __future__ import annotations

from dataclasses import dataclass

import librosa
import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from seqviews.model.evaluate.encode import Encoded

SOUNDS, COEFFICIENTS = 32, 13
PROBED = 2048  # segments that the classifiers are fitted to, and as many that they are scored on


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Frames of speech: the mean of each frame's z, float32 `[N, D]`, and its log-mel, float32 `[N, n_mels]`."""

    z: NDArray[np.float32]
    mel: NDArray[np.float32]

    @classmethod
    def of_segments(cls, segments: Encoded, seed: int = 0) -> Frames:
        """The frames of at most `PROBED` segments, chosen by a seed, from their values `dynamic` and `mel`."""
        chosen = np.random.default_rng(seed).permutation(len(segments))[:PROBED]
        z, mel = (segments.values[name][chosen].flatten(0, 1).numpy() for name in ("dynamic", "mel"))
        return cls(z, mel)


class SoundClasses:
    """Clusters of frames by their sound: k-means on 13 standardised MFCC.

    Args:
        mel: float32 `[N, n_mels]`, the log-mels of the frames that are clustered.
        seed: Of k-means.
    """

    def __init__(self, mel: NDArray[np.float32], seed: int = 0) -> None:
        clusters = KMeans(SOUNDS, n_init=1, random_state=seed)
        self._clusters: Pipeline = make_pipeline(StandardScaler(), clusters).fit(mfcc(mel))

    def __call__(self, mel: NDArray[np.float32]) -> NDArray[np.int32]:
        """The class of each frame, `[...]`, of log-mels `[..., n_mels]`."""
        classes: NDArray[np.int32] = self._clusters.predict(mfcc(mel.reshape(-1, mel.shape[-1])))
        return classes.reshape(mel.shape[:-1])


def probe(sounds: SoundClasses, train: Frames, test: Frames) -> dict[str, float]:
    """The accuracy of linear classifiers of sounds, from z and, for comparison, from the log-mel itself.

    Returns:
        `probe/z` and `probe/mel`, accuracies from 0 to 1 on the frames of `test`.
    """
    classes, true = sounds(train.mel), sounds(test.mel)
    scores: dict[str, float] = {}
    for name in ("z", "mel"):
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, tol=1e-3))
        classifier.fit(getattr(train, name), classes)
        scores[f"probe/{name}"] = float(classifier.score(getattr(test, name), true))
    return scores


def mfcc(mel: NDArray[np.float32], coefficients: int = COEFFICIENTS) -> NDArray[np.float32]:
    """The first mel-frequency cepstral coefficients `[N, coefficients]` of log-mel frames `[N, n_mels]`."""
    cepstrum: NDArray[np.float32] = librosa.feature.mfcc(S=mel.T, n_mfcc=coefficients)
    return cepstrum.T
