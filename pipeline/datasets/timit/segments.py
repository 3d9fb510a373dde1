"""TIMIT: log-mel segments of read speech, each also in other voices [P C.1, D.4]."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.datasets.timit.sphere import Unusable, read_utterance
from seqviews.pipeline.datasets.timit.tree import Skipped, Tree, Utterance, is_standard
from seqviews.pipeline.manifest import SPLITS, DatasetInfo, Features, MelFeatures, MelParameters, Split
from seqviews.pipeline.records import Segment
from seqviews.pipeline.sources.audio import log_mel
from seqviews.pipeline.sources.windows import Window


class Converter(Protocol):
    """Says a wave in other voices, as `augment.voice.VoiceConverter` does. It is sent to processes: it must pickle."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What decides the voices, for the manifest."""

    def __call__(self, wave: NDArray[np.float32], seeds: Sequence[int]) -> NDArray[np.float32]:
        """A wave `[samples]` at 16 kHz in the voices of K seeds, `[K, samples]`, nothing earlier or later."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How utterances become segments.

    Attributes:
        frames: In a segment.
        mel: The filterbank.
        voices: K, the other voices that each segment is stored in.
        converter: Makes them; not needed for K = 0.

    Raises:
        ValueError: If one of these is out of its bounds.
    """

    frames: int = 20
    mel: MelParameters = field(default_factory=MelParameters)
    voices: int = 0
    converter: Converter | None = None

    def __post_init__(self) -> None:
        if self.frames < 1 or not 1 <= self.mel.n_mels <= 128 or not 0 <= self.voices <= 1000:
            raise ValueError(
                f"{self.frames} frames of {self.mel.n_mels} mels in {self.voices} other voices: at least 1 frame, "
                "1 to 128 mels, 0 to 1000 voices"
            )
        if self.voices and self.converter is None:
            raise ValueError(f"{self.voices} other voices need a converter")

    @property
    def window(self) -> Window:
        """Segments from the start, one behind the other."""
        return Window(self.frames, self.frames)


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What the first reading of an utterance found out.

    Attributes:
        utterance: Which.
        frames: Of 10 ms, those in no segment among them.
        sha256: Of its samples, so that SPHERE and RIFF are the same.
    """

    utterance: Utterance
    frames: int
    sha256: str


def listen(
    tree: Tree,
    splits: Mapping[str, Split],
    cut: Cut,
    *,
    threads: int = 1,
    strict: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Timit:
    """Read every utterance of a split once: lengths, and each mel's mean and deviation over the segments of `train`.

    Args:
        tree: What there is.
        splits: The split of each speaker; utterances of others are left out.
        cut: How they become segments.
        threads: How many are read side by side; the result does not depend on it.
        strict: Refuse what would be skipped.
        progress: Called with the utterances read and all of them.

    Returns:
        The data set, ready to be prepared.

    Raises:
        ValueError: If of a split nothing is left, two splits have the same recording, or with `strict` something would
            be skipped.
    """
    wanted = [utterance for utterance in tree.utterances if utterance.speaker in splits]
    heard: list[Heard] = []
    skipped = list(tree.skipped)
    sums, frames = np.zeros((2, cut.mel.n_mels)), 0  # added up in the order of names, in float64
    with ThreadPoolExecutor(threads) as pool:
        for done, (one, found) in enumerate(pool.map(lambda u: _hear(u, cut, splits[u.speaker] == "train"), wanted), 1):
            if isinstance(one, Heard):
                heard.append(one)
                sums += found
                frames += cut.window.count(one.frames) * cut.frames * (splits[one.utterance.speaker] == "train")
            else:
                skipped.append(one)
            progress(done, len(wanted))
    if strict and skipped:
        more = f"; {len(skipped) - 1} more files or folders are wrong too" if len(skipped) > 1 else ""
        raise ValueError(f"{skipped[0].message}{more}")
    _check_splits(heard, splits, skipped)
    mean, square = sums / frames
    std = np.sqrt(np.maximum(square - mean**2, 0))
    mel = MelFeatures(tuple(mean.tolist()), tuple(std.tolist()), cut.voices, cut.mel)
    return Timit(tuple(heard), dict(splits), tree, tuple(skipped), cut, Features.for_segments(cut.frames, mel))


def _hear(utterance: Utterance, cut: Cut, train: bool) -> tuple[Heard | Skipped, NDArray[np.float64]]:
    """What is found out, and float64 `[2, n_mels]`: the sums of mels and of their squares, 0 if not for training."""
    sums = np.zeros((2, cut.mel.n_mels))
    try:
        wave = read_utterance(utterance.file)
        frames = 1 + len(wave) // cut.mel.hop_length
        if len(wave) < cut.mel.n_fft or frames < cut.frames:
            raise Unusable("short", f"{utterance.file} has {10 * (frames - 1)} ms, less than a segment")
    except Unusable as error:
        return Skipped(utterance.file, error.fault, error.message), sums
    if train:
        used = log_mel(wave, cut.mel)[: cut.window.count(frames) * cut.frames].astype(np.float64)
        sums += np.stack([used.sum(axis=0), np.square(used).sum(axis=0)])
    return Heard(utterance, frames, hashlib.sha256(wave.tobytes()).hexdigest()), sums


def _check_splits(heard: Sequence[Heard], splits: Mapping[str, Split], skipped: Sequence[Skipped]) -> None:
    """Something is left of each split, and no recording is in two of them under two names."""
    first: dict[str, Utterance] = {}
    left = {splits[one.utterance.speaker] for one in heard}
    for split in SPLITS:
        if split in splits.values() and split not in left:
            reason = f": {skipped[0].message}" if skipped else ""
            raise ValueError(f"no utterance of the split {split} is left{reason}")
    for one in heard:
        other = first.setdefault(one.sha256, one.utterance)
        if splits[other.speaker] != splits[one.utterance.speaker]:
            raise ValueError(f"{other.file} and {one.utterance.file} are the same recording, in two splits")


@dataclass(frozen=True)
class Timit:
    """The utterances of TIMIT, each a source, as a preprocessor; `listen` makes it.

    Attributes:
        heard: What `listen` found, sorted by name.
        splits: The split of each speaker.
        tree: What was found on the disk.
        skipped: What something is wrong with.
        cut: How utterances become segments.
        features: What the records look like.
    """

    heard: tuple[Heard, ...]
    splits: Mapping[str, Split]
    tree: Tree
    skipped: tuple[Skipped, ...]
    cut: Cut
    features: Features

    @property
    def info(self) -> DatasetInfo:
        """What the data set is; speaker, sex and dialect are static, the sentence is dynamic."""
        return DatasetInfo(
            name="timit",
            licence="LDC93S1, under the licence of the Linguistic Data Consortium: not to be passed on",
            attribution="Garofolo et al., TIMIT Acoustic-Phonetic Continuous Speech Corpus, 1993",
            features=self.features,
            static={name: self._classes[name] for name in ("speaker", "sex", "dialect")},
            dynamic={"sentence": self._classes["sentence"]},
        )

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """What decides the records: the samples and their splits, the voices, and what was left out."""
        facts = [(one.utterance.name, self._split(one), one.sha256) for one in self.heard]
        converter = self.cut.converter if self.cut.voices else None
        return {
            "samples_sha256": hashlib.sha256(repr(facts).encode()).hexdigest(),
            "splits": "standard" if is_standard(self.splits) else "a tenth of TRAIN is val",
            "librosa": version("librosa"),
            "converter": dict(converter.parameters) if converter else None,
            "left_out": self.left_out,
        }

    @cached_property
    def left_out(self) -> dict[str, Any]:
        """What is not in the shards, counted.

        `sa`, `second_copies` and `not_in_a_split` are utterances, `tails` frames that fill no segment, by split, and
        `skipped` files or folders by what is wrong with them.
        """
        used = {split: [one.frames for one in self.heard if self._split(one) == split] for split in SPLITS}
        others = sum(utterance.speaker not in self.splits for utterance in self.tree.utterances)
        return {
            **{name: self.tree.left_out.get(name, 0) for name in ("sa", "second_copies")},
            "not_in_a_split": others,
            "tails": {split: sum(map(self.cut.window.left_out, frames)) for split, frames in used.items()},
            "skipped": dict(sorted(Counter(skip.fault for skip in self.skipped).items())),
        }

    def seconds(self, split: Split) -> float:
        """Of speech in a split."""
        assert self.features.rate is not None
        return sum(one.frames for one in self.heard if self._split(one) == split) / self.features.rate

    def sources(self, split: Split) -> Sequence[str]:
        """The utterances of a split, by name."""
        return [one.utterance.name for one in self.heard if self._split(one) == split]

    def records(self, source: str, rng: np.random.Generator) -> Iterator[Segment]:
        """The segments of an utterance, in order; only its other voices are random."""
        utterance = self._by_name[source]
        wave = read_utterance(utterance.file)
        mels, voices = log_mel(wave, self.cut.mel), None
        if self.cut.voices and self.cut.converter is not None:
            seeds = rng.integers(0, 1 << 63, self.cut.voices).tolist()
            waves = self.cut.converter(wave, seeds)
            voices = np.stack([log_mel(wave, self.cut.mel) for wave in waves]).astype(np.float16)
        for number in range(self.cut.window.count(len(mels))):
            first = number * self.cut.frames
            part = slice(first, first + self.cut.frames)
            yield Segment(
                f"{utterance.speaker}-{utterance.sentence}-{number:04d}",
                mels[part],
                None if voices is None else voices[:, part],
                self._factors(utterance),
                source,
                self.cut.mel.sample_rate / self.cut.mel.hop_length,
                first * self.cut.mel.hop_length / self.cut.mel.sample_rate,
            )

    def _factors(self, utterance: Utterance) -> dict[str, int]:
        return {
            name: classes[value]
            for (name, classes), value in zip(self._numbers.items(), _facts(utterance), strict=True)
        }

    def _split(self, one: Heard) -> Split:
        return self.splits[one.utterance.speaker]

    @cached_property
    def _classes(self) -> dict[str, list[str]]:
        found = zip(*(_facts(one.utterance) for one in self.heard), strict=True)
        return {name: sorted(set(values)) for name, values in zip(_FACTORS, found, strict=True)}

    @cached_property
    def _numbers(self) -> dict[str, dict[str, int]]:
        return {name: {value: i for i, value in enumerate(names)} for name, names in self._classes.items()}

    @cached_property
    def _by_name(self) -> dict[str, Utterance]:
        return {one.utterance.name: one.utterance for one in self.heard}


_FACTORS = ("speaker", "sex", "dialect", "sentence")


def _facts(utterance: Utterance) -> tuple[str, str, str, str]:
    """The factors' values, in the order of `_FACTORS`; a speaker's first letter is the sex."""
    return utterance.speaker, utterance.speaker[0], utterance.dialect, utterance.sentence
