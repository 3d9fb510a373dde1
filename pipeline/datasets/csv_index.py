"""A CSV that lists anybody's files: their splits and their factors."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias, cast

from seqviews.pipeline.manifest import SPLITS, Split

Kind: TypeAlias = Literal["frames", "video", "audio"]
KINDS: tuple[Kind, ...] = ("frames", "video", "audio")
AUDIO = {".wav", ".flac"}
FACTOR_PATTERN = re.compile(r"[a-z0-9_]{1,80}")
MAX_CLASS_NAME = 200


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the CSV: its path as written, the file or folder that this is, its split and its cells by factor."""

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
    """Read a CSV with the columns `path` and `split`; every other column is a static factor.

    Args:
        path: The CSV, UTF-8, with a header.
        root: What the paths are relative to; the CSV's folder if not given.
        kind: What the paths are: folders of frames, video files or sound files; told from the paths if not given.
        identity: A factor of which no class may be in two splits, for example the speaker.

    Raises:
        ValueError: If the CSV or a line of it is wrong; the message names the line.
        OSError: If it cannot be read.
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
    _refuse_repeats(path, rows, identity)
    kinds = {kind or _kind(row.file): row for row in rows}
    if len(kinds) > 1:
        (one, row), (other, second) = list(kinds.items())[:2]
        raise ValueError(
            f"{path}: line {row.line} is {one} and line {second.line} is {other}: make a CSV of each kind of file"
        )
    return Index(next(iter(kinds)), tuple(rows))


def _rows(reader: csv.DictReader[str], path: Path, root: Path) -> Iterator[Row]:
    columns = list(reader.fieldnames or [])
    if not {"path", "split"} <= set(columns):
        raise ValueError(f"{path} has the columns {columns}: it needs path and split, and commas between the columns")
    names = [column for column in columns if column not in {"path", "split"}]
    for name in names:
        if not FACTOR_PATTERN.fullmatch(name) or columns.count(name) > 1:
            raise ValueError(f"{path}: column {name!r}: factor names are made of a-z 0-9 _, each of them once")
    for cells in reader:
        where = f"{path}, line {reader.line_num}"
        if None in cells or None in cells.values():
            raise ValueError(f"{where}: it has not as many cells as the header")
        cells = {name: cell.strip() for name, cell in cells.items()}
        for name, cell in cells.items():
            if not cell:
                raise ValueError(f"{where}: {name} is empty: fill it in, or leave the line out")
            if name in names and len(cell) > MAX_CLASS_NAME:
                raise ValueError(f"{where}: {name} has {len(cell)} characters, over the limit of {MAX_CLASS_NAME}")
        if cells["split"] not in SPLITS:
            raise ValueError(f"{where}: the split {cells['split']!r} is none of {', '.join(SPLITS)}")
        file = root / cells["path"]
        if not file.exists():
            raise ValueError(f"{where}: there is no {file}")
        yield Row(
            reader.line_num, cells["path"], file, cast(Split, cells["split"]), {name: cells[name] for name in names}
        )


def _refuse_repeats(path: Path, rows: list[Row], identity: str | None) -> None:
    """No file twice, and no class of the identity in two splits."""
    files: dict[Path, Row] = {}
    people: dict[str, Row] = {}
    for row in rows:
        first = files.setdefault(row.file.resolve(), row)
        if first is not row:
            raise ValueError(f"{path}: lines {first.line} and {row.line} are the same file, {row.path}: list it once")
        if identity is None:
            continue
        person = row.cells[identity]
        first = people.setdefault(person, row)
        if first.split != row.split:
            raise ValueError(
                f"{path}: {identity} {person} is in {first.split} (line {first.line}) and in {row.split} "
                f"(line {row.line}): an identity belongs to one split"
            )


def _kind(file: Path) -> Kind:
    if file.is_dir():
        return "frames"
    return "audio" if file.suffix.lower() in AUDIO else "video"
