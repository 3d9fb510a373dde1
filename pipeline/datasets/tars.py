"""Samples of plain WebDataset tars, cut into clips or segments; splits are made by a hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from seqviews.pipeline.datasets.tar_survey import SurveyedSample, TarLayout, TarSurvey, Unread
from seqviews.pipeline.features import Features
from seqviews.pipeline.manifest import SPLITS, DatasetInfo, Split
from seqviews.pipeline.prepare.failures import BrokenSample, Failure
from seqviews.pipeline.records import KEY_PATTERN, Record
from seqviews.pipeline.sources.survey import Cutter
from seqviews.pipeline.sources.tars import read_samples, sample_file, tar_name

MAX_CLASSES = 100_000


@dataclass(frozen=True)
class TarDataset:
    """The samples of tars as a preprocessor. Each tar is a source of a split, so that it is read once for each.

    Attributes:
        layout, cutter: Where the samples are, and what cuts them.
        survey: What was found there.
        unread: What the first survey could not read.
        features: The features of the records; see `of`.
        name: Name of the data set, `[a-z0-9_-]{1,80}`.
        licence, attribution: The licence of the records, and the people to credit.
    """

    layout: TarLayout
    cutter: Cutter
    survey: TarSurvey
    unread: Unread
    features: Features
    name: str
    licence: str = "unknown"
    attribution: str = "unknown"

    @classmethod
    def of(
        cls, layout: TarLayout, cutter: Cutter, survey: TarSurvey, name: str, unread: Unread | None = None, **about: str
    ) -> TarDataset:
        """Return the data set of a survey; `unread` is what the plan in its folder states, if there is one.

        Raises:
            ValueError: If the name is invalid, no sample for training is long enough, or a factor has too many classes.
        """
        if not KEY_PATTERN.fullmatch(name):
            raise ValueError(f"the name {name!r} does not consist of 1 to 80 of a-z 0-9 _ -: choose another --name")
        unread = unread or Unread.of(survey)
        long = [s for s in survey.samples if cutter.window.count(s.survey.frames) and not unread.has(s)]
        train = [sample.survey for sample in long if sample.split == "train"]
        if not train:
            broken = f"; {survey.broken[0][2].reason}" if survey.broken else ""
            read = f"of {len(survey.samples)} read{broken}"
            raise ValueError(f"no sample for training has {cutter.window.frames} frames, {read}")
        features = cutter.features([sample.survey for sample in long], train)
        # the sums are used up, and the samples are sent to every process
        survey = replace(survey, samples=[replace(s, survey=replace(s.survey, sums=None)) for s in survey.samples])
        dataset = cls(layout, cutter, survey, unread, features, name, **about)
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
        """Everything that decides the records: the cutter, and a hash of the samples, their splits and labels.

        `tar_samples` is the number of samples, and of splits that lack the end of a tar; `unread` is what the first
        survey could not read.
        """
        facts = [(s.name, s.number, s.split, sorted(s.labels.items()), s.survey.sha256) for s in self._planned]
        sha256 = hashlib.sha256(repr(facts).encode()).hexdigest()
        known = sum(not self.unread.has(sample) for sample in self.survey.samples)
        total = known + len(self.unread.samples) + len(self.unread.tails) * len(self._splits)
        split_by = {"split_by": self.layout.identity or "content", "tar_samples": total}
        unread = {"unread": self.unread.as_json()} if self.unread != Unread() else {}
        return {"samples_sha256": sha256, **self.cutter.parameters, **split_by, **unread}

    def sources(self, split: Split) -> Sequence[str]:
        """The tars that have samples of a split, by number and name, each with the split.

        A broken sample is one of train, until it is known where it belongs, and a tar with an end that cannot be read
        is one of each split.
        """
        return self._sources[split]

    def records(self, source: str, rng: np.random.Generator) -> Iterator[Record | BrokenSample]:
        """The records of a tar's samples in a split, in order, then the samples that are left out."""
        wanted = self._by_source.get(source, {})
        tar = int(source.partition("/")[2].partition("-")[0])
        for number, sample in enumerate(read_samples(self.layout.tars[tar]) if wanted else ()):
            if number in wanted:
                found = wanted[number]
                stem = re.sub(r"[^a-z0-9]+", "-", found.name.rpartition("/")[2].lower()).strip("-")[:50]
                key = f"{found.tar:05d}-{number:06d}-{stem}".rstrip("-") + "-{:05d}"
                facts: dict[str, Any] = {} if found.survey.rate is None else {"rate": found.survey.rate}
                facts["factors"] = {name: self._classes[name].index(found.labels[name]) for name in self.layout.factors}
                with sample_file(sample, self.layout.extension, self.layout.images) as file:
                    yield from self.cutter.records(file, key, rng, source=found.name, **facts)
            if number == max(wanted):
                break  # a tar that is cut has been reported
        yield from self.broken.get(source, ())

    @cached_property
    def broken(self) -> dict[str, list[BrokenSample]]:
        """By source, what is left out now: what cannot be read, and what was mended but does not fit the data set."""
        found: dict[str, list[BrokenSample]] = {}
        for tar, _, broken in self.survey.broken:
            splits: Sequence[Split] = ["train"] if broken.name else self._splits
            for split in splits:
                found.setdefault(self._source(split, tar), []).append(broken)
        for sample in self._mended:
            if reason := self._unfit(sample):
                broken = BrokenSample(sample.name.partition("/")[2], f"{reason}: prepare all tars in a new folder")
                found.setdefault(self._source("train", sample.tar), []).append(broken)
        return found

    def to_retry(self, failures: Collection[Failure]) -> list[Failure]:
        """Return failures of all sources that those may belong to: the same tars in every split."""
        tars = {failure.source.partition("/")[2]: failure for failure in failures}
        sources = [(split, source) for split in SPLITS for source in self.sources(split)]
        others = [(split, source, tars.get(source.partition("/")[2])) for split, source in sources]
        return [*failures, *(replace(f, split=split, source=source) for split, source, f in others if f)]

    def _unfit(self, sample: SurveyedSample) -> str:
        """Return why a sample that was mended cannot be added; empty if it can."""
        if self._source(sample.split, sample.tar) not in self._sources[sample.split]:
            return f"belongs to the split {sample.split}, in which no other sample of its tar is"
        for name, classes in self._classes.items():
            if sample.labels[name] not in classes:
                return f"its {name} {sample.labels[name]} is not in the data set"
        (least, greatest), (frames, _) = self.features.frames, self.cutter.window.frame_counts([sample.survey.frames])
        if not least <= frames <= greatest:
            return f"has {frames} frames, others {least} to {greatest}"
        return ""

    @cached_property
    def _planned(self) -> list[SurveyedSample]:
        return [sample for sample in self._long if not self.unread.has(sample)]

    @cached_property
    def _mended(self) -> list[SurveyedSample]:
        return [sample for sample in self._long if self.unread.has(sample)]

    @property
    def _long(self) -> list[SurveyedSample]:
        return [sample for sample in self.survey.samples if self.cutter.window.count(sample.survey.frames)]

    @cached_property
    def _splits(self) -> list[Split]:
        """The splits that the data set has."""
        found = {sample.split for sample in self._planned}
        return [split for split in SPLITS if split in found]

    @cached_property
    def _classes(self) -> dict[str, list[str]]:
        return {name: sorted({sample.labels[name] for sample in self._planned}) for name in self.layout.factors}

    @cached_property
    def _sources(self) -> dict[Split, list[str]]:
        tars = {split: {sample.tar for sample in self._planned if sample.split == split} for split in SPLITS}
        tars["train"] |= {tar for tar, _ in self.unread.samples}
        for split in self._splits:
            tars[split] |= {tar for tar, _ in self.unread.tails}
        return {split: [self._source(split, tar) for tar in sorted(numbers)] for split, numbers in tars.items()}

    @cached_property
    def _by_source(self) -> dict[str, dict[int, SurveyedSample]]:
        found: dict[str, dict[int, SurveyedSample]] = {}
        for sample in [*self._planned, *(sample for sample in self._mended if not self._unfit(sample))]:
            found.setdefault(self._source(sample.split, sample.tar), {})[sample.number] = sample
        return found

    def _source(self, split: Split, tar: int) -> str:
        return f"{split}/{tar:05d}-{tar_name(self.layout.tars[tar])}"
