"""Swaps of speech: whose voice, and whose words, has a segment decoded from the s of one and the z of another?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor

from seqviews.model.evaluate.encode import Encoded
from seqviews.model.evaluate.speech.attacks import RESAMPLES, speaker_groups
from seqviews.model.evaluate.speech.intervals import Estimate, speaker_weights
from seqviews.model.evaluate.speech.recordings import Recordings
from seqviews.model.evaluate.speech.sounds import SoundClasses
from seqviews.model.scaling import Scale

PARTNERS = {"segment": 2, "utterance": 20}  # swaps of each segment or utterance with others
BLOCK = 1024  # segments decoded at a time

Mels: TypeAlias = NDArray[np.float32]
Scores: TypeAlias = NDArray[np.float64]
Speakers: TypeAlias = NDArray[np.int64]


class SpeakerJudge:
    """Names the speaker of a segment: a support vector machine on mean and deviation over time of each log-mel.

    Args:
        mels: float32 `[N, T, n_mels]`, log-mels.
        speakers: int64 `[N]`.
    """

    def __init__(self, mels: Mels, speakers: NDArray[np.int64]) -> None:
        self._classifier: Pipeline = make_pipeline(StandardScaler(), SVC(C=10.0)).fit(_statistics(mels), speakers)
        self._speakers = np.unique(speakers)

    def scores(self, mels: Mels) -> NDArray[np.float64]:
        """A score of each speaker, the higher the likelier: `[N, speakers]`."""
        scores: NDArray[np.float64] = self._classifier.decision_function(_statistics(mels))
        return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores

    def named(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """The speaker with the highest score, `[N]`."""
        named: NDArray[np.int64] = self._speakers[scores.argmax(axis=1)]
        return named


def _statistics(mels: Mels) -> NDArray[np.float32]:
    return np.concatenate([mels.mean(axis=1), mels.std(axis=1)], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Decoder:
    """Decodes the latents of segments to log-mels."""

    method: Any
    scale: Scale
    device: torch.device | str

    @torch.inference_mode()
    def __call__(self, s: Tensor, z: Tensor) -> Mels:
        """Log-mels `[N, T, n_mels]` of latents `[N, S]` and `[N, T, D]`."""
        parts = zip(torch.split(s, BLOCK), torch.split(z, BLOCK), strict=True)
        decoded = [self.scale.inverse(self.method.decode(a.to(self.device), b.to(self.device))).cpu() for a, b in parts]
        return torch.cat(decoded).numpy()


class Swaps:
    """The swaps between the speakers of some segments.

    A judge is fitted on every second utterance of each speaker; all else is of the other utterances.

    Args:
        decode: Decodes the latents.
        recordings: Segments, of at least two speakers with two utterances; those of others are left out.
        mels: float32 `[N, T, n_mels]`, their log-mels.
        s: `[N, S]`, their static latents.
        z: `[N, T, D]`, their dynamic latents.
        seed: Decides the pairs and the bootstrap over speakers.
    """

    def __init__(self, decode: Decoder, recordings: Recordings, mels: Mels, s: Tensor, z: Tensor, seed: int) -> None:
        fitted, tested = _halves(recordings)
        self.judge = SpeakerJudge(mels[fitted], recordings.speakers[fitted])
        self._decode, self._mels, self._seed = decode, mels[tested], seed
        self._s, self._z = s[tested], z[tested]
        self._speakers, self._utterances = recordings.speakers[tested], recordings.utterances[tested]

    def by_segment(self, sounds: SoundClasses) -> dict[str, Estimate]:
        """Voices and words of single segments."""
        a, b = _pairs(self._speakers, PARTNERS["segment"], np.random.default_rng(self._seed))
        reconstructed, swapped = self._decode(self._s, self._z), self._decode(self._s[a], self._z[b])
        real, own, exchanged = (self.judge.scores(mels) for mels in (self._mels, reconstructed, swapped))
        pairs = np.stack([self._speakers[a], self._speakers[b]], axis=1)
        metrics = self._voices(real, own, exchanged, self._speakers, pairs)
        true, found = sounds(self._mels), sounds(swapped)
        shares = {"words_reconstruction": (sounds(reconstructed) == true, self._speakers[:, None])}
        shares |= {"words_of_z": (found == true[b], pairs), "words_of_s": (found == true[a], pairs)}
        metrics |= {name: self._share(same.mean(axis=1), who) for name, (same, who) in shares.items()}
        return metrics | {"words_kept": metrics["words_of_z"] / metrics["words_reconstruction"]}

    def by_utterance(self) -> dict[str, Estimate]:
        """Voices of utterances: the mean s of one, and the segments of another, whose scores are added."""
        names, number = np.unique(self._utterances, return_inverse=True)
        rows = [np.flatnonzero(number == i) for i in range(len(names))]
        speakers = self._speakers[[row[0] for row in rows]]
        a, b = _pairs(speakers, PARTNERS["utterance"], np.random.default_rng(self._seed))
        means = torch.stack([self._s[row].mean(0) for row in rows])
        of_segments = [self.judge.scores(mels) for mels in (self._mels, self._decode(self._s, self._z))]
        real, reconstructed = (np.stack([scores[row].sum(axis=0) for row in rows]) for scores in of_segments)
        lengths = [len(rows[j]) for j in b]
        segments = np.concatenate([rows[j] for j in b])
        exchanged = self.judge.scores(self._decode(means[a.repeat(lengths)], self._z[segments]))
        swapped = np.add.reduceat(exchanged, np.cumsum([0, *lengths[:-1]]))
        pairs = np.stack([speakers[a], speakers[b]], axis=1)
        return self._voices(real, reconstructed, swapped, speakers, pairs)

    def _voices(
        self, real: Scores, reconstructed: Scores, swapped: Scores, speakers: Speakers, pairs: Speakers
    ) -> dict[str, Estimate]:
        """Whom the judge names, of scores; `speakers` `[N]` of the first two, `pairs` `[M, 2]` of the swaps."""
        named = self.judge.named(swapped)
        of_s, of_z = named == pairs[:, 0], named == pairs[:, 1]
        voices = {"voice_of_s": of_s, "voice_of_z": of_z, "voice_of_another": ~(of_s | of_z)}
        metrics = {name: self._share(share, pairs) for name, share in voices.items()}
        for name, scores in {"ceiling": real, "reconstruction": reconstructed}.items():
            metrics[name] = self._share(self.judge.named(scores) == speakers, speakers[:, None])
        return metrics | {"voice_moved": metrics["voice_of_s"] / metrics["ceiling"]}

    def _share(self, of_items: NDArray[Any], speakers: Speakers) -> Estimate:
        """The mean of items `[N]`, whose speakers are `[N, k]`."""
        weights = speaker_weights(speakers, RESAMPLES, self._seed)
        totals = Estimate(1.0, weights.sum(axis=1))  # 0 where no pair of the speakers that were drawn is an item
        return Estimate(float(of_items.mean()), weights @ of_items) / totals


def _halves(recordings: Recordings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Segments of every second utterance of each speaker, and those of the others; at least one utterance in each."""
    fitted: list[NDArray[np.int64]] = []
    tested: list[NDArray[np.int64]] = []
    for speaker in np.unique(recordings.speakers):
        utterances = np.unique(recordings.utterances[recordings.speakers == speaker])
        if len(utterances) > 1:
            for half, chosen in ((fitted, utterances[::2]), (tested, utterances[1::2])):
                half.append(np.flatnonzero(np.isin(recordings.utterances, chosen)))
    return np.concatenate(fitted), np.concatenate(tested)


def _speakers_with_two(recordings: Recordings) -> int:
    """How many speakers have two utterances."""
    return int((np.unique(recordings.utterance_means().speakers, return_counts=True)[1] > 1).sum())


def _pairs(speakers: Speakers, partners: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each recording b, `partners` recordings a of other speakers: two `[N * partners]`, a and b."""
    b = np.arange(len(speakers)).repeat(partners)
    others = {speaker: np.flatnonzero(speakers != speaker) for speaker in np.unique(speakers)}
    a = np.array([rng.choice(others[speaker]) for speaker in speakers[b]], np.int64)
    return a, b


def swap_metrics(
    decode: Decoder, segments: Encoded, recordings: Recordings, sounds: SoundClasses, prefix: str = "", seed: int = 0
) -> dict[str, Estimate]:
    """Whose voice and whose words swaps between speakers have.

    Args:
        decode: Decodes the latents.
        segments: The segments of a split, with the values `mel`, and with the prefix `static` and `dynamic`.
        recordings: The same segments.
        sounds: The classes of frames.
        prefix: Of the latents' names.
        seed: Decides the pairs and the bootstrap over speakers.

    Returns:
        By `group/level/swap/metric`. A swap has the s of a recording A and the z of a recording B. Of swaps:
        `voice_of_s`, the share in which the judge names the speaker of A, `voice_of_z`, of B, and `voice_of_another`.
        For comparison the judge's accuracy on real recordings, its `ceiling`, and on their `reconstruction`;
        `voice_moved` is voice_of_s over the ceiling. Of segments also `words_of_z` and `words_of_s`, the shares of
        frames with the class of sound of B's frame and of A's, `words_reconstruction`, that of reconstructions, and
        `words_kept`, words_of_z over words_reconstruction. Nothing of a group without two speakers who have two
        utterances.
    """
    static, dynamic = segments.values[f"{prefix}static"], segments.values[f"{prefix}dynamic"]
    mels = segments.values["mel"].numpy()
    metrics: dict[str, Estimate] = {}
    for group, kept in speaker_groups(recordings).items():
        if _speakers_with_two(recordings.select(kept)) < 2:
            continue
        swaps = Swaps(decode, recordings.select(kept), mels[kept], static[kept], dynamic[kept], seed)
        for level, measured in {"segment": swaps.by_segment(sounds), "utterance": swaps.by_utterance()}.items():
            metrics |= {f"{group}/{level}/swap/{name}": value for name, value in measured.items()}
    return metrics
