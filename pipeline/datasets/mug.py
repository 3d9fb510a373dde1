"""MUG: people who each show six expressions [Aifantis et al., WIAMIS 2010], takes of 50 to 160 pictures."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from seqviews.pipeline.datasets.mug_takes import (
    EXPRESSIONS,
    NEUTRAL,
    RATE,
    Take,
    TakeReader,
    TakeSurvey,
    Tree,
    Unusable,
)
from seqviews.pipeline.features import Features
from seqviews.pipeline.manifest import SPLITS, DatasetInfo, Split
from seqviews.pipeline.records import Clip, Progress, silent
from seqviews.pipeline.sources.faces import MARGIN, Box, centre_box, median_box
from seqviews.pipeline.sources.survey import first_leak, hash_files, survey_files
from seqviews.pipeline.sources.video import fit, list_images, read_image


def assign_people(subjects: Sequence[str], seed: int = 0) -> dict[str, Split]:
    """The split of each person: a quarter of them in `test`, a tenth in `val`, at least one each, the rest in `train`.

    Raises:
        ValueError: If there are fewer than three.

    Example:
        >>> list(assign_people(["001", "002", "003", "004"]).values())
        ['val', 'train', 'test', 'train']
    """
    if len(subjects) < 3:
        raise ValueError(f"there are {len(subjects)} people, and three splits that share nobody need at least three")
    tested, validated = max(1, round(len(subjects) / 4)), max(1, round(len(subjects) / 10))
    order = np.random.default_rng(seed).permutation(len(subjects)).tolist()
    splits: dict[int, Split] = dict.fromkeys(order[:tested], "test")
    splits |= dict.fromkeys(order[tested : tested + validated], "val")
    return {subject: splits.get(number, "train") for number, subject in enumerate(subjects)}


def survey_mug(
    tree: Tree,
    splits: Mapping[str, Split],
    reader: TakeReader,
    *,
    size: int = 64,
    threads: int = 1,
    strict: bool = False,
    progress: Progress = silent,
) -> Mug:
    """Read every picture once, as `survey_files`, and return the data set, ready to be prepared.

    `strict` raises an error instead of skipping a take.

    Raises:
        ValueError: If no take of a split is left, two people of different splits have the same pictures, or with
            `strict` a take would be skipped, or has no face in it.
    """
    takes: list[tuple[Take, TakeSurvey]] = []
    skipped: list[Unusable] = []
    folders = [take.folder for take in tree.takes]
    found = survey_files(folders, reader, threads=threads, label="takes read", progress=progress)
    for take, survey in zip(tree.takes, found, strict=True):
        if isinstance(survey, TakeSurvey):
            takes.append((take, survey))
        elif isinstance(survey, Unusable):
            skipped.append(survey)
        elif isinstance(survey, Exception):
            raise survey
    faceless = tuple(take for take, survey in takes if reader.face == "cascade" and survey.face is None)
    problems = [*map(str, skipped), *(f"{take.folder} has no face that is found" for take in faceless)]
    if strict and problems:
        raise ValueError(f"{problems[0]}{f'; {len(problems) - 1} more takes have a fault' if problems[1:] else ''}")
    for split in SPLITS:
        if split not in {splits[take.subject] for take, _ in takes}:
            raise ValueError(f"no take of the split {split} is left{f': {skipped[0]}' if skipped else ''}")
    if leak := first_leak((take, splits[take.subject], survey) for take, survey in takes):
        shared = f"{leak[0].folder} and {leak[1].folder} hold the same pictures"
        raise ValueError(f"{shared}, and their people are in different splits: remove one of them")
    return Mug(tuple(takes), dict(splits), tree, tuple(skipped), faceless, reader, size)


@dataclass(frozen=True)
class Mug:
    """The takes of MUG, each a source and a record, as a preprocessor; created by `survey_mug`.

    A face that is found is cut out with a margin. Where none is found, the box is the median of the same person's
    other takes, or else in the middle of the picture.

    Attributes:
        takes: The takes and their surveys, sorted by name.
        splits: The split of each person.
        tree, skipped, faceless: The takes on the disk, the faults of those that cannot be used, and those in which no
            face is found.
        reader, size: What read the takes, and the height and width of a frame.
    """

    takes: tuple[tuple[Take, TakeSurvey], ...]
    splits: Mapping[str, Split]
    tree: Tree
    skipped: tuple[Unusable, ...] = field(repr=False)
    faceless: tuple[Take, ...] = field(repr=False)
    reader: TakeReader
    size: int = 64

    @property
    def info(self) -> DatasetInfo:
        """The description of the data set: the subject is static, the expression dynamic."""
        counts = [survey.frames for _, survey in self.takes]
        least = min(counts) if min(counts) < max(counts) else None
        return DatasetInfo(
            name="mug",
            licence="MUG facial expression database: granted to each user by its authors, not to be passed on",
            attribution="Aifantis, Papachristou and Delopoulos, The MUG facial expression database, WIAMIS 2010",
            features=Features((max(counts), self.size, self.size, 3), rate=RATE, min_frames=least),
            static={"subject": sorted({take.subject for take, _ in self.takes})},
            dynamic={"expression": self._expressions},
        )

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """Everything that decides the records: the pictures, their boxes and splits, and what was left out."""
        facts = [(take.name, survey.sha256, self.box(take, survey)) for take, survey in self.takes]
        people = {split: sorted(who for who, s in self.splits.items() if s == split) for split in SPLITS}
        return {
            "pictures_sha256": hashlib.sha256(repr(facts).encode()).hexdigest(),
            "face": self.reader.face,
            "min_frames": self.reader.min_frames,
            "splits": people,
            "left_out": self.left_out,
        }

    @cached_property
    def left_out(self) -> dict[str, Any]:
        """Counts: takes that are left out by their names, takes skipped by fault, and used takes without a face."""
        named = {name: self.tree.left_out.get(name, 0) for name in ("neutral", "other_expressions", "other_names")}
        faults = dict(sorted(Counter(skip.fault for skip in self.skipped).items()))
        return {**named, "skipped": faults, "no_face_found": len(self.faceless)}

    def box(self, take: Take, survey: TakeSurvey) -> Box:
        """The part of its pictures that the frames of a take show."""
        if self.reader.face == "none":
            return centre_box(*survey.size, share=1)
        face = survey.face or self._usual.get((take.subject, survey.size))
        return centre_box(*survey.size) if face is None else face.scaled(MARGIN)

    def summary(self, split: str) -> dict[str, int]:
        """People, takes and frames of a split."""
        takes = [(take, survey) for take, survey in self.takes if self.splits[take.subject] == split]
        people = len({take.subject for take, _ in takes})
        return {"people": people, "takes": len(takes), "frames": sum(survey.frames for _, survey in takes)}

    def sources(self, split: Split) -> Sequence[str]:
        """The takes of a split, by name."""
        return [take.name for take, _ in self.takes if self.splits[take.subject] == split]

    def records(self, source: str, rng: np.random.Generator) -> Iterator[Clip]:
        """The one clip of a take; nothing is random. Raises `ValueError` if its pictures have changed."""
        take, survey = self._by_name[source]
        box, images = self.box(take, survey), list_images(take.folder)
        frames = [fit(box.cut(read_image(image)), self.size, grey=False) for image in images]
        if len(images) != survey.frames or hash_files(images) != survey.sha256:
            raise ValueError(
                f"{take.folder} has changed since the takes were read: prepare them again, to another --out"
            )
        subjects = self.info.static["subject"] or []
        factors = {"subject": subjects.index(take.subject), "expression": self._expressions.index(take.expression)}
        yield Clip(source.replace("/", "-"), np.stack(frames), factors, source, RATE)

    @property
    def _expressions(self) -> list[str]:
        shown = {take.expression for take in self.tree.takes}
        return [*EXPRESSIONS, *([NEUTRAL] if NEUTRAL in shown else [])]

    @cached_property
    def _usual(self) -> dict[tuple[str, tuple[int, int]], Box]:
        """The median box of each person, in pictures of a size."""
        found: dict[tuple[str, tuple[int, int]], list[Box]] = {}
        for take, survey in self.takes:
            if survey.face is not None:
                found.setdefault((take.subject, survey.size), []).append(survey.face)
        return {key: median_box(boxes) for key, boxes in found.items()}

    @cached_property
    def _by_name(self) -> dict[str, tuple[Take, TakeSurvey]]:
        return {take.name: (take, survey) for take, survey in self.takes}
