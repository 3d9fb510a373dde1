"""Toy segments whose speaker and words are known, in a module that the processes of a preparation can import."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqviews.model.gaussian import Gaussian
from seqviews.model.protocol import Method, Posterior
from seqviews.model.scaling import scale_of
from seqviews.pipeline.features import Features, MelFeatures, MelParameters
from seqviews.pipeline.manifest import SPLITS, DatasetInfo, Split
from seqviews.pipeline.records import Segment

FRAMES, N_MELS, HALF = 6, 16, 8
SPEAKERS = {"train": 4, "val": 2, "test": 5}
UTTERANCES, SEGMENTS, VOICES = 3, 4, 2
MEAN, DEVIATION = -6.0, 2.0


@dataclass(frozen=True)
class ToySpeech:
    """Mels whose upper half is a constant of the speaker, and whose lower half, the words, is noise in every frame.

    Speaker 0 of the test split and its first neighbour have ten utterances, the others three.
    """

    voices: int = VOICES

    @property
    def info(self) -> DatasetInfo:
        mel = MelFeatures((MEAN,) * N_MELS, (DEVIATION,) * N_MELS, self.voices, MelParameters(n_mels=N_MELS))
        return DatasetInfo(
            name="toy-speech",
            licence="CC0-1.0",
            attribution="nobody",
            features=Features.for_segments(FRAMES, mel),
            static={"speaker": self._names},
            dynamic={"sentence": [f"s{i}" for i in range(10)]},
        )

    @property
    def parameters(self) -> dict[str, Any]:
        return {}

    def sources(self, split: Split) -> list[str]:
        return [
            f"{split}{speaker}-s{sentence}"
            for speaker in range(SPEAKERS[split])
            for sentence in range(10 if split == "test" and speaker < 2 else UTTERANCES)
        ]

    def records(self, source: str, rng: np.random.Generator) -> Iterator[Segment]:
        name, sentence = source.split("-")
        speaker = self._names.index(name)
        for number in range(SEGMENTS):
            words = rng.normal(size=(FRAMES, HALF))
            mels = [self._mel(who, words) for who in (speaker, *rng.integers(100, 200, self.voices))]
            voices = np.stack(mels[1:]).astype(np.float16) if self.voices else None
            factors = {"speaker": speaker, "sentence": int(sentence[1:])}
            yield Segment(f"{source}-{number:04d}", mels[0], voices, factors, source)

    def _mel(self, speaker: int, words: NDArray[np.float64]) -> NDArray[np.float32]:
        voice = np.random.default_rng(speaker).normal(size=HALF)
        both = np.concatenate([words, np.broadcast_to(voice, words.shape)], axis=1)
        return np.asarray(MEAN + DEVIATION * both, np.float32)

    @cached_property
    def _names(self) -> list[str]:
        return [f"{split}{speaker}" for split in SPLITS for speaker in range(SPEAKERS[split])]


class PerfectSpeech(Method):
    """Disentangles a scaled toy segment exactly: s is the voice, z_t the words."""

    def encode(self, x: Tensor) -> Posterior:
        return Posterior(*(Gaussian(m, torch.zeros_like(m)) for m in (x[:, 0, HALF:], x[:, :, :HALF])))

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        return torch.cat([z, s[:, None].expand(-1, z.shape[1], -1)], dim=2)


SCALE = scale_of(ToySpeech().info.features)
