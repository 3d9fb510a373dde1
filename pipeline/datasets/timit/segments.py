"""TIMIT: log-mel segments of read speech, each also in other voices [P C.1, D.4]."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.datasets.timit.sphere import Unusable, read_utterance
from seqviews.pipeline.datasets.timit.tree import Skipped, Tree, Utterance, is_standard
from seqviews.pipeline.features import Features
from seqviews.pipeline.manifest import SPLITS, DatasetInfo, Split
from seqviews.pipeline.records import Progress, Segment, silent
from seqviews.pipeline.sources.audio import SegmentCutter
from seqviews.pipeline.sources.survey import FileSurvey, first_leak, survey_files


@dataclass(frozen=True, slots=True)
class UtteranceCutter(SegmentCutter):
    """Cuts utterances into segments; an utterance shorter than a segment is unusable."""

    def read(self, file: Path) -> NDArray[np.float32]:
        """The wave of an utterance; raises `Unusable` as `read_utterance`, and if it is shorter than a segment."""
        wave, hop = read_utterance(file), self.mel.hop_length
        if len(wave) < max(self.mel.n_fft, (self.window.frames - 1) * hop):
            raise Unusable("short", f"{file} has {10 * (len(wave) // hop)} ms, less than a segment")
        return wave

    def sha256(self, file: Path, wave: NDArray[np.float32]) -> str:
        """Hash of the samples, which is the same for SPHERE and RIFF."""
        return hashlib.sha256(wave.tobytes()).hexdigest()


def survey_timit(
    tree: Tree,
    splits: Mapping[str, Split],
    cutter: UtteranceCutter,
    *,
    threads: int = 1,
    strict: bool = False,
    progress: Progress = silent,
) -> Timit:
    """Read every utterance once, as `survey_files`, and return the data set, ready to be prepared.

    Utterances of speakers without a split are left out. `strict` raises an error instead of skipping a file.

    Raises:
        ValueError: If no utterance of a split is left, two splits have the same recording, or with `strict` a file
            would be skipped.
    """
    wanted = [utterance for utterance in tree.utterances if utterance.speaker in splits]
    files: list[tuple[Utterance, FileSurvey]] = []
    skipped = list(tree.skipped)
    found = survey_files([u.file for u in wanted], cutter, threads=threads, label="utterances read", progress=progress)
    for utterance, survey in zip(wanted, found, strict=True):
        if isinstance(survey, FileSurvey):
            files.append((utterance, survey))
        elif isinstance(survey, Unusable):
            skipped.append(Skipped(utterance.file, survey.fault, survey.message))
        else:
            raise survey
    if strict and skipped:
        more = f"; {len(skipped) - 1} more files or folders would be skipped" if len(skipped) > 1 else ""
        raise ValueError(f"{skipped[0].message}{more}")
    for split in SPLITS:
        if split in splits.values() and split not in {splits[utterance.speaker] for utterance, _ in files}:
            raise ValueError(f"no utterance of the split {split} is left{f': {skipped[0].message}' if skipped else ''}")
    if leak := first_leak((u, splits[u.speaker], survey) for u, survey in files):
        raise ValueError(f"{leak[0].file} and {leak[1].file} are the same recording, in two splits")
    train = [survey for utterance, survey in files if splits[utterance.speaker] == "train"]
    features = cutter.features([survey for _, survey in files], train)
    # the sums are used up, and the files are sent to every process
    kept = tuple((utterance, replace(survey, sums=None)) for utterance, survey in files)
    return Timit(kept, dict(splits), tree, tuple(skipped), cutter, features)


@dataclass(frozen=True)
class Timit:
    """The utterances of TIMIT, each a source, as a preprocessor; created by `survey_timit`.

    Attributes:
        files: The utterances and their surveys, sorted by name.
        splits: The split of each speaker.
        tree, skipped: The files on the disk, and the files and folders that cannot be used.
        cutter, features: What cuts utterances into segments, and the features of those.
    """

    files: tuple[tuple[Utterance, FileSurvey], ...]
    splits: Mapping[str, Split]
    tree: Tree
    skipped: tuple[Skipped, ...]
    cutter: UtteranceCutter
    features: Features

    @property
    def info(self) -> DatasetInfo:
        """The description of the data set; speaker, sex and dialect are static, the sentence is dynamic."""
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
        """Everything that decides the records: the samples and their splits, the voices, and what was left out."""
        facts = [(utterance.name, self.splits[utterance.speaker], survey.sha256) for utterance, survey in self.files]
        converter = self.cutter.converter if self.cutter.voices else None
        return {
            "samples_sha256": hashlib.sha256(repr(facts).encode()).hexdigest(),
            "splits": "standard" if is_standard(self.splits) else "a tenth of TRAIN is val",
            "librosa": version("librosa"),
            "converter": dict(converter.parameters) if converter else None,
            "left_out": self.left_out,
        }

    @cached_property
    def left_out(self) -> dict[str, Any]:
        """Counts of what is not in the shards: utterances, frames at their ends by split, skipped files by fault."""
        window = self.cutter.window
        return {
            **{name: self.tree.left_out.get(name, 0) for name in ("sa", "second_copies")},
            "not_in_a_split": sum(utterance.speaker not in self.splits for utterance in self.tree.utterances),
            "tails": {split: sum(window.left_out(s.frames) for _, s in self._files(split)) for split in SPLITS},
            "skipped": dict(sorted(Counter(skip.fault for skip in self.skipped).items())),
        }

    def summary(self, split: str) -> dict[str, Any]:
        """Speakers, utterances and hours of speech in a split."""
        files = self._files(split)
        speakers = {utterance.speaker for utterance, _ in files}
        return {"speakers": len(speakers), "utterances": len(files), "hours": round(self.hours(split), 3)}

    def hours(self, split: str) -> float:
        """Hours of speech in a split."""
        return sum(survey.frames for _, survey in self._files(split)) / self.cutter.rate / 3600

    def in_hours(self, progress: Progress) -> Progress:
        """Convert progress from utterances to hours of speech: all utterances of a split count as equally long."""

        def report(split: str, done: float, total: float) -> None:
            hours = self.hours(split)
            progress(f"{split}, hours of speech", round(hours * done / total, 3), round(hours, 3))

        return report

    def sources(self, split: Split) -> Sequence[str]:
        """The utterances of a split, by name."""
        return [utterance.name for utterance, _ in self._files(split)]

    def records(self, source: str, rng: np.random.Generator) -> Iterator[Segment]:
        """The segments of an utterance, in order; only its other voices are random."""
        utterance, survey = self._by_name[source]
        key = f"{utterance.speaker}-{utterance.sentence}-{{:04d}}"
        factors = {name: self._classes[name].index(label) for name, label in utterance.labels.items()}
        return self.cutter.records(utterance.file, key, rng, factors=factors, source=source, rate=survey.rate)

    def _files(self, split: str) -> list[tuple[Utterance, FileSurvey]]:
        return [(utterance, survey) for utterance, survey in self.files if self.splits[utterance.speaker] == split]

    @cached_property
    def _classes(self) -> dict[str, list[str]]:
        """The class names of each factor, sorted."""
        labels = [utterance.labels for utterance, _ in self.files]
        return {factor: sorted({label[factor] for label in labels}) for factor in labels[0]}

    @cached_property
    def _by_name(self) -> dict[str, tuple[Utterance, FileSurvey]]:
        return {utterance.name: (utterance, survey) for utterance, survey in self.files}
