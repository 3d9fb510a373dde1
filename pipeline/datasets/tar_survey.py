"""The survey of plain WebDataset tars: every sample is read once, and its split is decided by a hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from threading import Event

from seqviews.pipeline.manifest import Split
from seqviews.pipeline.prepare.failures import BrokenSample
from seqviews.pipeline.prepare.plan import planned_unread
from seqviews.pipeline.records import Progress, silent
from seqviews.pipeline.shards.codec import decode_json
from seqviews.pipeline.sources.survey import Cutter, FileSurvey, until
from seqviews.pipeline.sources.tars import BrokenTar, Sample, read_samples, sample_file, tar_name
from seqviews.pipeline.storage.folder import Folder


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
    """The samples of tars, and what is broken, each with the number of its tar and its own number there.

    A tar that cannot be read to its end is a broken sample without a name, which has the number of the first that is
    missing.
    """

    samples: list[SurveyedSample] = field(default_factory=list)
    broken: list[tuple[int, int, BrokenSample]] = field(default_factory=list)


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
    found, url, number = TarSurvey(), layout.tars[tar], -1
    try:
        for number, sample in enumerate(until(stop, read_samples(url))):
            name = sample["__key__"]
            try:
                labels = layout.labels(sample)
                with sample_file(sample, layout.extension, layout.images) as file:
                    survey = cutter.survey(file, stop)
            except (ImportError, InterruptedError):
                raise
            except Exception as error:  # about one sample: the others are read too
                # the message has the name of a temporary file
                reason = " ".join(re.sub(r"\S*seqviews-\w+(/\S+)?", "", str(error)).split())
                found.broken.append((tar, number, BrokenSample(name, reason or type(error).__name__)))
                continue
            split = layout.split(labels[layout.identity] if layout.identity else survey.sha256)
            found.samples.append(SurveyedSample(tar, number, f"{tar_name(url)}/{name}", split, labels, survey))
    except BrokenTar as error:
        found.broken.append((tar, number + 1, BrokenSample("", str(error))))
    return found


@dataclass(frozen=True)
class Unread:
    """What the first survey of a preparation could not read. Its plan knows nothing of it, also when it is mended.

    Attributes:
        samples: The number of the tar and of the sample in it.
        tails: The number of the tar and of its first sample that could not be read, as none after it.
    """

    samples: frozenset[tuple[int, int]] = frozenset()
    tails: frozenset[tuple[int, int]] = frozenset()

    @classmethod
    def of(cls, survey: TarSurvey) -> Unread:
        """Return what a survey could not read."""
        samples = frozenset((tar, number) for tar, number, broken in survey.broken if broken.name)
        return cls(samples, frozenset((tar, number) for tar, number, broken in survey.broken if not broken.name))

    @classmethod
    def planned(cls, out: Folder) -> Unread | None:
        """Return what the plan in a folder states; None if there is none."""
        found = planned_unread(out)
        try:
            return cls(*(frozenset((tar, number) for tar, number in found[name]) for name in ("samples", "tails")))
        except (ValueError, KeyError, TypeError):
            return None  # nothing was unread, or another preparation, which is reported later

    def as_json(self) -> dict[str, list[tuple[int, int]]]:
        """The attributes, sorted."""
        return {"samples": sorted(self.samples), "tails": sorted(self.tails)}

    def has(self, sample: SurveyedSample) -> bool:
        """Whether a sample could not be read."""
        tail = self._tails.get(sample.tar)
        return (sample.tar, sample.number) in self.samples or (tail is not None and sample.number >= tail)

    @cached_property
    def _tails(self) -> dict[int, int]:
        return dict(self.tails)
