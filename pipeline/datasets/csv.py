"""Your own data: the files that a CSV lists, with their splits and factors, cut into clips or segments."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import Any, Literal, TypeAlias, cast

import numpy as np

from seqviews.pipeline.features import Features
from seqviews.pipeline.manifest import SPLITS, DatasetInfo, Split
from seqviews.pipeline.prepare.plan import planned_unread
from seqviews.pipeline.records import KEY_PATTERN, Progress, Record, silent
from seqviews.pipeline.sources.survey import Cutter, FileSurvey, first_leak, survey_files
from seqviews.pipeline.storage.folder import Folder

Kind: TypeAlias = Literal["frames", "video", "audio"]
KINDS: tuple[Kind, ...] = ("frames", "video", "audio")
AUDIO = {".wav", ".flac"}
FACTOR_PATTERN = re.compile(r"[a-z0-9_]{1,80}")
MAX_CLASS_NAME = 200


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the CSV: the path as written, the file or folder at that path, the split and a cell per factor."""

    line: int
    path: str
    file: Path
    split: Split
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Index:
    """The checked contents of a CSV: files of one kind, each in one split."""

    kind: Kind
    rows: tuple[Row, ...]

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """The class names of each factor, sorted."""
        return {name: sorted({row.cells[name] for row in self.rows}) for name in self.rows[0].cells}

    def factors(self, row: Row) -> dict[str, int]:
        """The class index of each factor of a row."""
        return {name: names.index(row.cells[name]) for name, names in self.classes.items()}


def read_index(path: Path, root: Path | None = None, kind: Kind | None = None, identity: str | None = None) -> Index:
    """Read a CSV in UTF-8 with the columns `path` and `split`; every other column is a static factor.

    Args:
        path: The CSV.
        root: The folder that the paths are relative to; the CSV's folder by default.
        kind: The kind of files: folders of frames, video files or sound files; inferred from the paths by default.
        identity: A factor of which no class may be in two splits, for example the speaker.

    Raises:
        ValueError: If the CSV or a line of it is invalid; the message names the line.
        OSError: If the CSV cannot be read.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            rows = list(_rows(csv.DictReader(file, strict=True), path, root or path.parent))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a CSV in UTF-8: {error}") from None
    if not rows:
        raise ValueError(f"{path} lists no files: below the header each line is a path, a split and its factors")
    if identity is not None and identity not in rows[0].cells:
        raise ValueError(f"{path} has no column {identity!r}: --identity names one of its factor columns")
    _check_unique(path, rows, identity)
    kinds = {kind or _kind(row.file): row for row in rows}
    if len(kinds) > 1:
        (kind_1, row_1), (kind_2, row_2) = list(kinds.items())[:2]
        found = f"line {row_1.line} is {kind_1} and line {row_2.line} is {kind_2}"
        raise ValueError(f"{path}: {found}: write one CSV per kind of file")
    return Index(next(iter(kinds)), tuple(rows))


def _rows(reader: csv.DictReader[str], path: Path, root: Path) -> Iterator[Row]:
    columns = list(reader.fieldnames or [])
    if not {"path", "split"} <= set(columns):
        raise ValueError(f"{path} has the columns {columns}: path and split are required, separated by commas")
    names = [column for column in columns if column not in {"path", "split"}]
    for name in names:
        if not FACTOR_PATTERN.fullmatch(name) or columns.count(name) > 1:
            raise ValueError(f"{path}: column {name!r}: factor names consist of a-z 0-9 _ and must be unique")
    for cells in reader:
        where = f"{path}, line {reader.line_num}"
        if None in cells or None in cells.values():
            raise ValueError(f"{where}: the number of cells differs from the header's")
        cells = {name: cell.strip() for name, cell in cells.items()}
        for name, cell in cells.items():
            if not cell:
                raise ValueError(f"{where}: {name} is empty: fill it in, or remove the line")
            if name in names and len(cell) > MAX_CLASS_NAME:
                raise ValueError(f"{where}: {name} has {len(cell)} characters, over the limit of {MAX_CLASS_NAME}")
        if cells["split"] not in SPLITS:
            raise ValueError(f"{where}: the split {cells['split']!r} is not one of {', '.join(SPLITS)}")
        file = root / cells["path"]
        if not file.exists():
            raise ValueError(f"{where}: {file} does not exist")
        factors = {name: cells[name] for name in names}
        yield Row(reader.line_num, cells["path"], file, cast(Split, cells["split"]), factors)


def _check_unique(path: Path, rows: list[Row], identity: str | None) -> None:
    """Check that no file is listed twice, and no class of the identity is in two splits."""
    files: dict[Path, Row] = {}
    people: dict[str, Row] = {}
    for row in rows:
        first = files.setdefault(row.file.resolve(), row)
        if first is not row:
            raise ValueError(f"{path}: lines {first.line} and {row.line} are the same file, {row.path}: list it once")
        person = row.cells[identity] if identity else row.path
        first = people.setdefault(person, row)
        if first.split != row.split:
            found = f"in {first.split} (line {first.line}) and in {row.split} (line {row.line})"
            raise ValueError(f"{path}: {identity} {person} is {found}: an identity belongs to one split")


def _kind(file: Path) -> Kind:
    return "frames" if file.is_dir() else "audio" if file.suffix.lower() in AUDIO else "video"


def unread_paths(out: Folder, index: Index) -> frozenset[str]:
    """The paths of an index that the first survey of the preparation in a folder could not read."""
    planned = planned_unread(out)
    unread = {row.path for row in index.rows} & set(map(str, planned if isinstance(planned, list) else ()))
    return frozenset(unread if len(unread) < len(index.rows) else ())  # all: another preparation, reported later


def survey_rows(
    index: Index,
    cutter: Cutter,
    threads: int = 1,
    progress: Progress = silent,
    *,
    unread: Collection[str] = (),
    max_failures: int = 0,
) -> tuple[list[tuple[Row, FileSurvey]], Features]:
    """Read every file once, as `survey_files`, and return the rows with their surveys and the features of the records.

    A file that cannot be read completely stays a source, whose records raise the same error: it has no SHA-256 and
    counts as one record. The `unread` paths are such sources without being read.

    Raises:
        ValueError: If more files than `max_failures` cannot be read; the message has the line and the fault of each.
    """
    rows = [row for row in index.rows if row.path not in unread]
    found = survey_files([row.file for row in rows], cutter, threads=threads, progress=progress)
    errors = [f"line {row.line}: {e}" for row, e in zip(rows, found, strict=True) if isinstance(e, Exception)]
    if len(errors) > max_failures or len(errors) == len(found):
        raise ValueError(f"{len(errors)} of the {len(found)} files in the CSV cannot be used: " + "; ".join(errors))
    read = [(row, survey) for row, survey in zip(rows, found, strict=True) if isinstance(survey, FileSurvey)]
    features = cutter.features([s for _, s in read], [s for row, s in read if row.split == "train"])
    # the sums are used up, and the files are sent to every process
    surveys = {row.line: replace(survey, sums=None) for row, survey in read}
    unknown = FileSurvey(cutter.window.frames, None, "")
    return [(row, surveys.get(row.line, unknown)) for row in index.rows], features


@dataclass(frozen=True)
class CsvDataset:
    """The files of an index, each a source, as a preprocessor. Every factor is static.

    Attributes:
        index: The files with their splits and factors.
        files, features: The rows and their surveys, and the features of the records, from `survey_rows`.
        cutter: Cuts the files into records.
        name: Name of the data set, `[a-z0-9_-]{1,80}`.
        licence, attribution: The licence of the records, and the people to credit.

    Raises:
        ValueError: If the name is invalid, a split has no file as long as a record, or two have the same content.
    """

    index: Index
    files: Sequence[tuple[Row, FileSurvey]]
    cutter: Cutter
    features: Features
    name: str
    licence: str = "unknown"
    attribution: str = "unknown"

    def __post_init__(self) -> None:
        if not KEY_PATTERN.fullmatch(self.name):
            reason = "does not consist of 1 to 80 of a-z 0-9 _ -: give the data set another --name"
            raise ValueError(f"the name {self.name!r} {reason}")
        window = self.cutter.window
        for split in SPLITS:
            lengths = self._lengths(split)
            if lengths and not any(map(window.count, lengths)):
                reason = f"a record has {window.frames} frames, the longest file {max(lengths)}"
                raise ValueError(f"no file of the split {split} is long enough: {reason}")
        if leak := first_leak((row, row.split, survey) for row, survey in self.files if survey.sha256):
            a, b = leak
            found = f"have the same content and are in {a.split} and {b.split}: it belongs to one split"
            raise ValueError(f"lines {a.line} and {b.line} of the CSV, {a.path} and {b.path}, {found}")

    @property
    def info(self) -> DatasetInfo:
        """See `Preprocessor.info`."""
        return DatasetInfo(self.name, self.licence, self.attribution, self.features, dict(self.index.classes), {})

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """Everything that decides the records: the cutter, and a hash of the files, their splits and factors.

        `unread`, if there are any, are the paths that the first survey could not read.
        """
        facts = [(r.line, r.path, r.split, sorted(r.cells.items()), survey.sha256) for r, survey in self.files]
        sha256 = hashlib.sha256(repr(facts).encode()).hexdigest()
        unread = sorted(row.path for row, survey in self.files if not survey.sha256)
        return {
            "files_sha256": sha256,
            **self.cutter.parameters,
            "left_out": self.left_out,
            **({"unread": unread} if unread else {}),
        }

    @cached_property
    def left_out(self) -> dict[Split, dict[str, int]]:
        """By split: files too short for one record, and frames of the other files that are in no record."""
        window = self.cutter.window
        found: dict[Split, dict[str, int]] = {}
        for split in SPLITS:
            if lengths := self._lengths(split):
                long = [length for length in lengths if window.count(length)]
                found[split] = {"files": len(lengths) - len(long), "frames": sum(map(window.left_out, long))}
        return found

    def remarks(self, split: Split) -> list[str]:
        """What was decided about ambiguous files of a split: at most 20 sentences, and the number of the others."""
        found = [f"line {row.line}, {row.path}: {s.remark}" for row, s in self.files if s.remark and row.split == split]
        return [*found[:20], f"{len(found) - 20} more"] if len(found) > 20 else found

    def sources(self, split: Split) -> Sequence[str]:
        """The paths of a split as written in the CSV, except files too short for a record."""
        count = self.cutter.window.count
        return [row.path for row, survey in self.files if row.split == split and count(survey.frames)]

    def records(self, source: str, rng: np.random.Generator) -> Iterator[Record]:
        """The records of a file, in order. Their keys start with the line in the CSV."""
        row, survey = self._by_path[source]
        if not survey.sha256:
            survey = self.cutter.survey(row.file, Event())
        stem = re.sub(r"[^a-z0-9]+", "-", row.file.stem.lower()).strip("-")[:60]
        key = f"{row.line:06d}-{stem}".rstrip("-") + "-{:05d}"
        facts: dict[str, Any] = {} if survey.rate is None else {"rate": survey.rate}
        yield from self.cutter.records(row.file, key, rng, factors=self.index.factors(row), source=row.path, **facts)

    @cached_property
    def _by_path(self) -> dict[str, tuple[Row, FileSurvey]]:
        return {row.path: (row, survey) for row, survey in self.files}

    def _lengths(self, split: Split) -> list[int]:
        return [survey.frames for row, survey in self.files if row.split == split]
