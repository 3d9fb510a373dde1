"""Recordings: segments or utterances of known speakers, each as several vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqviews.model.evaluate.encode import Encoded
from seqviews.model.evaluate.speech.sounds import mfcc

VECTORS = {
    "s": "s",
    "s_sample": "s, sampled",
    "z": "z, flattened",
    "z_sample": "z, flattened, sampled",
    "z_mean": "z, mean over time",
    "z_mean_sample": "z, mean over time, sampled",
    "z_deviation": "z, deviation over time",
    "mfcc": "mean MFCC, no training",
    "mel": "mean log-mel, no training",
}
"""What a recording is verified by: latents, means of the posterior unless sampled, and two baselines."""
LEVELS = {"segment": "segments", "utterance": "utterances"}
COEFFICIENTS = 20  # of the mean MFCC


@dataclass(frozen=True, slots=True, eq=False)
class Recordings:
    """Segments, or utterances.

    Attributes:
        vectors: float32 `[N, D]` by name, of `VECTORS`.
        speakers: int64 `[N]`, the speaker of each recording.
        utterances: int64 `[N]`, the utterance that it is from.
    """

    vectors: Mapping[str, NDArray[np.float32]]
    speakers: NDArray[np.int64]
    utterances: NDArray[np.int64]

    @classmethod
    def of_segments(cls, segments: Encoded, prefix: str = "") -> Recordings:
        """Segments with the factor `speaker`.

        Their values with the prefix are `static` and `dynamic`, means of the posterior, `static_sample` and
        `dynamic_sample`; without it, `mel`, the log-mel `[N, T, n_mels]`.
        """
        utterances = np.unique([utterance_of(key) for key in segments.keys], return_inverse=True)[1].astype(np.int64)
        mels = segments.values["mel"].numpy()
        coefficients = mfcc(mels.reshape(-1, mels.shape[-1]), COEFFICIENTS).reshape(*mels.shape[:2], -1)
        vectors = {"mfcc": coefficients.mean(1), "mel": mels.mean(1)}
        for suffix in ("", "_sample"):
            static, dynamic = (segments.values[f"{prefix}{name}{suffix}"].numpy() for name in ("static", "dynamic"))
            vectors[f"s{suffix}"] = static
            vectors[f"z{suffix}"] = dynamic.reshape(len(dynamic), -1)
            vectors[f"z_mean{suffix}"] = dynamic.mean(1)
        vectors["z_deviation"] = segments.values[f"{prefix}dynamic"].numpy().std(1)
        return cls({name: vectors[name] for name in VECTORS}, segments.factors["speaker"].numpy(), utterances)

    def select(self, kept: NDArray[np.bool_]) -> Recordings:
        """The recordings that `[N]` marks."""
        vectors = {name: vector[kept] for name, vector in self.vectors.items()}
        return Recordings(vectors, self.speakers[kept], self.utterances[kept])

    def utterance_means(self) -> Recordings:
        """The utterances, each the mean over its segments."""
        found = np.unique(self.utterances, return_index=True, return_inverse=True, return_counts=True)
        _, first, number, counts = found

        def mean(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
            sums = np.zeros((len(counts), vectors.shape[1]))
            np.add.at(sums, number, vectors)
            return (sums / counts[:, None]).astype(np.float32)

        means = {name: mean(vector) for name, vector in self.vectors.items()}
        return Recordings(means, self.speakers[first], self.utterances[first])


def utterance_of(key: str) -> str:
    """The utterance of a segment: its key without the last part, which counts the segments of an utterance.

    >>> utterance_of("dr1-fcjf0-sa1-0003")
    'dr1-fcjf0-sa1'
    """
    return key.rpartition("-")[0]
