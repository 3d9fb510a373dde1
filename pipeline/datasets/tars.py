"""Samples of plain WebDataset tars, cut into clips or segments; splits are made by a hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Event
from typing import Any

import numpy as np

from seqviews.pipeline.features import Features
from seqviews.pipeline.manifest import DatasetInfo, Split
from seqviews.pipeline.records import KEY_PATTERN, Progress, Record, silent
from seqviews.pipeline.shards.codec import decode_json
from seqviews.pipeline.sources.survey import Cutter, FileSurvey, until
from seqviews.pipeline.sources.tars import BrokenTar, Sample, read_samples, sample_file, tar_name

MAX_CLASSES = 100_000


@dataclass(frozen=True, slots=True)
class TarLayout:
    """Where the samples are, and what is used of each.

    Attributes:
        tars: Paths, `pipe:` commands and URLs.
        extension: Of the member to cut, as `mp4`; with `images`, of all members that are frames.
        images: Whether a sample is several images.
        factors: Fields of the JSON member that are factors; every one is static.
        identity: The field whose hash decides the split; by default the content of the member does, so that no two
            splits have the same.
        fractions: Of train, val and test.

    Raises:
        ValueError: If the fractions are below 0 or do not add up to 1, or a factor has no valid name.
    """

    tars: tuple[str, ...]
    extension: str
    images: bool = False
    factors: tuple[str, ...] = ()
    identity: str | None = None
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)

    def __post_init__(self) -> None:
        if min(self.fractions) < 0 or abs(sum(self.fractions) - 1) > 1e-6:
            raise ValueError(f"the fractions of the splits are {list(self.fractions)}: they must add up to 1")
        for name in self.factors:
            if not re.fullmatch(r"[a-z0-9_]{1,80}", name):
                raise ValueError(f"factor {name!r}: names consist of a-z 0-9 _")

    def labels(self, sample: Sample) -> dict[str, str]:
        """Return the factors and the identity of a sample. Raises `ValueError` if one is missing or no label."""
        wanted = [*self.factors, *([self.identity] if self.identity else [])]
        about = decode_json(sample.get("json", b"{}")) if wanted else {}
        for name in wanted:
            if not isinstance(about.get(name), str | int) or len(str(about[name])) > 200:
                raise ValueError(f"its JSON has no field {name} that is a word or an integer")
        return {name: str(about[name]) for name in wanted}

    def split(self, decisive: str) -> Split:
        """Return the split that a hash of a text decides."""
        number = int.from_bytes(hashlib.sha256(decisive.encode()).digest()[:8], "big") / 2**64
        train, val, _ = self.fractions
        return "train" if number < train else "val" if number < train + val else "test"


@dataclass(frozen=True, slots=True)
class SurveyedSample:
    """A sample that can be read: its tar and its number there, name, split, labels and survey."""

    tar: int
    number: int
    name: str
    split: Split
    labels: Mapping[str, str]
    survey: FileSurvey


@dataclass(slots=True)
class TarSurvey:
    """The samples of tars, and a sentence for each that is broken."""

    samples: list[SurveyedSample] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def survey_tars(layout: TarLayout, cutter: Cutter, threads: int = 1, progress: Progress = silent) -> TarSurvey:
    """Read every sample once, `threads` tars at a time."""
    stop, pool, total = Event(), ThreadPoolExecutor(threads), TarSurvey()
    try:
        surveys = pool.map(lambda tar: _survey(layout, cutter, tar, stop), range(len(layout.tars)))
        for done, found in enumerate(surveys, start=1):
            total.samples += found.samples
            total.broken += found.broken
            progress("tars read", done, len(layout.tars))
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    return total


def _survey(layout: TarLayout, cutter: Cutter, tar: int, stop: Event) -> TarSurvey:
    found, url = TarSurvey(), layout.tars[tar]
    try:
        for number, sample in enumerate(until(stop, read_samples(url))):
            name = f"{tar_name(url)}/{sample['__key__']}"
            try:
                labels = layout.labels(sample)
                with sample_file(sample, layout.extension, layout.images) as file:
                    survey = cutter.survey(file, stop)
            except (ImportError, InterruptedError):
                raise
            except Exception as error:  # about one sample: the others are read too
                # the message has the name of a temporary file
                reason = re.sub(r"\S*seqviews-\w+(/\S+)?", "", " ".join(str(error).split())).strip()
                found.broken.append(f"{name}: {reason}")
                continue
            split = layout.split(labels[layout.identity] if layout.identity else survey.sha256)
            found.samples.append(SurveyedSample(tar, number, name, split, labels, survey))
    except BrokenTar as error:
        found.broken.append(str(error))
    return found


@dataclass(frozen=True)
class TarDataset:
    """The samples of tars as a preprocessor. Each tar is a source of a split, so that it is read once for each.

    Attributes:
        layout, cutter: Where the samples are, and what cuts them.
        samples, features: The samples that can be read, and the features of the records; see `of`.
        broken: Number of those that cannot.
        name: Name of the data set, `[a-z0-9_-]{1,80}`.
        licence, attribution: The licence of the records, and the people to credit.
    """

    layout: TarLayout
    cutter: Cutter
    samples: Sequence[SurveyedSample]
    features: Features
    broken: int
    name: str
    licence: str = "unknown"
    attribution: str = "unknown"

    @classmethod
    def of(cls, layout: TarLayout, cutter: Cutter, survey: TarSurvey, name: str, **about: str) -> TarDataset:
        """Return the data set of a survey.

        Raises:
            ValueError: If the name is invalid, no sample for training is long enough, or a factor has too many classes.
        """
        if not KEY_PATTERN.fullmatch(name):
            raise ValueError(f"the name {name!r} does not consist of 1 to 80 of a-z 0-9 _ -: choose another --name")
        long = [sample for sample in survey.samples if cutter.window.count(sample.survey.frames)]
        train = [sample.survey for sample in long if sample.split == "train"]
        if not train:
            raise ValueError(f"no sample for training has {cutter.window.frames} frames, of {len(survey.samples)} read")
        features = cutter.features([sample.survey for sample in long], train)
        # the sums are used up, and the samples are sent to every process
        samples = tuple(replace(sample, survey=replace(sample.survey, sums=None)) for sample in long)
        dataset = cls(layout, cutter, samples, features, len(survey.broken), name, **about)
        for factor, classes in dataset._classes.items():
            if len(classes) > MAX_CLASSES:
                raise ValueError(f"the factor {factor} has {len(classes)} classes, over {MAX_CLASSES}: leave it out")
        return dataset

    @property
    def info(self) -> DatasetInfo:
        """See `Preprocessor.info`."""
        return DatasetInfo(self.name, self.licence, self.attribution, self.features, dict(self._classes), {})

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """Everything that decides the records: the cutter, and a hash of the samples, their splits and labels."""
        facts = [(s.name, s.number, s.split, sorted(s.labels.items()), s.survey.sha256) for s in self.samples]
        sha256 = hashlib.sha256(repr(facts).encode()).hexdigest()
        split_by = self.layout.identity or "content"
        return {"samples_sha256": sha256, **self.cutter.parameters, "split_by": split_by, "broken_samples": self.broken}

    def sources(self, split: Split) -> Sequence[str]:
        """The tars that have samples of a split, by number and name, each with the split."""
        return [self._source(split, tar) for tar in sorted({s.tar for s in self.samples if s.split == split})]

    def records(self, source: str, rng: np.random.Generator) -> Iterator[Record]:
        """The records of a tar's samples in a split, in order."""
        wanted = self._by_source[source]
        tar = next(iter(wanted.values())).tar
        for number, sample in enumerate(read_samples(self.layout.tars[tar])):
            if number in wanted:
                found = wanted[number]
                stem = re.sub(r"[^a-z0-9]+", "-", found.name.rpartition("/")[2].lower()).strip("-")[:50]
                key = f"{found.tar:05d}-{number:06d}-{stem}".rstrip("-") + "-{:05d}"
                facts: dict[str, Any] = {} if found.survey.rate is None else {"rate": found.survey.rate}
                facts["factors"] = {name: self._classes[name].index(found.labels[name]) for name in self.layout.factors}
                with sample_file(sample, self.layout.extension, self.layout.images) as file:
                    yield from self.cutter.records(file, key, rng, source=found.name, **facts)
            if number == max(wanted):
                return  # a tar that is cut has been reported

    @cached_property
    def _classes(self) -> dict[str, list[str]]:
        return {name: sorted({sample.labels[name] for sample in self.samples}) for name in self.layout.factors}

    @cached_property
    def _by_source(self) -> dict[str, dict[int, SurveyedSample]]:
        found: dict[str, dict[int, SurveyedSample]] = {}
        for sample in self.samples:
            found.setdefault(self._source(sample.split, sample.tar), {})[sample.number] = sample
        return found

    def _source(self, split: Split, tar: int) -> str:
        return f"{split}/{tar:05d}-{tar_name(self.layout.tars[tar])}"
