"""Whether z holds the words: a linear classifier from the z of a frame to the sound of the frame."""

from dataclasses import dataclass

import librosa
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from seqviews.model.evaluate.encode import Encoded
from seqviews.model.protocol import Posterior
from seqviews.pipeline.records import Batch

SOUNDS, COEFFICIENTS = 32, 13
PROBED = 2048  # segments that the classifiers are fitted to, and as many that they are scored on


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Frames of speech: the mean of each frame's z, float32 `[N, D]`, and its log-mel, float32 `[N, n_mels]`."""

    z: NDArray[np.float32]
    mel: NDArray[np.float32]


class ProbedMels:
    """Keeps the log-mels of the first `PROBED` segments of a stream; it is the `keep` of `encode`."""

    def __init__(self) -> None:
        self._indices: list[Tensor] = []
        self._mels: list[Tensor] = []

    def __call__(self, x: Tensor, posterior: Posterior, batch: Batch) -> dict[str, Tensor]:
        """Keep the segments of a batch, unless there are enough."""
        if sum(map(len, self._indices)) < PROBED:
            self._indices.append(batch.indices)
            self._mels.append(batch.x)
        return {}

    def frames(self, segments: Encoded) -> Frames:
        """The frames of these segments, all of which have been encoded."""
        indices, mel = torch.cat(self._indices)[:PROBED], torch.cat(self._mels)[:PROBED]
        z = segments.dynamic[torch.searchsorted(segments.indices, indices)]
        return Frames(z.flatten(0, 1).numpy(), mel.flatten(0, 1).numpy())


def probe(train: Frames, test: Frames, seed: int = 0) -> dict[str, float]:
    """The accuracy of linear classifiers of sounds, from z and, for comparison, from the log-mel itself.

    The sounds are 32 clusters of the frames of `train`, found by k-means with a seed on 13 standardised MFCC.

    Returns:
        `probe/z` and `probe/mel`, accuracies from 0 to 1 on the frames of `test`.
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
