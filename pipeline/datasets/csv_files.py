"""Anybody's data: the files that a CSV lists, cut into clips or segments."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Event
from typing import Any

import numpy as np

from seqviews.pipeline.datasets.csv_index import Index, Row
from seqviews.pipeline.manifest import SPLITS, DatasetInfo, Features, Split
from seqviews.pipeline.records import Record
from seqviews.pipeline.sources.windows import Cutter, Look


def look_at_files(
    index: Index, cutter: Cutter, threads: int = 1, progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[list[tuple[Row, Look]], Features]:
    """Read every file once, before anything is written: a damaged one ends the preparation here.

    Args:
        index: Which files.
        cutter: How they are read.
        threads: How many are read side by side; the result does not depend on it.
        progress: Called with the files read and all of them.

    Returns:
        The rows with what was found, and what the records will look like.

    Raises:
        ValueError: If files cannot be read to their end; the message has their lines in the CSV.
    """
    stop = Event()
    looks: list[Look] = []
    wrong: dict[int, Exception] = {}
    pool = ThreadPoolExecutor(threads)
    try:
        for row, look in zip(index.rows, pool.map(lambda row: _look(row, cutter, stop), index.rows), strict=True):
            if isinstance(look, Look):
                looks.append(look)
            else:
                wrong[row.line] = look
            progress(len(looks) + len(wrong), len(index.rows))
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    if wrong:
        line, *others = wrong
        also = f"; the files of {len(others)} more lines are wrong too: {_listed(others)}" if others else ""
        raise ValueError(f"line {line} of the CSV: {wrong[line]}{also}") from wrong[line]
    files = list(zip(index.rows, looks, strict=True))
    features = cutter.features(looks, [look for row, look in files if row.split == "train"])
    # the sums have done their work, and the files are sent to every process
    return [(row, replace(look, sums=None)) for row, look in files], features


def _look(row: Row, cutter: Cutter, stop: Event) -> Look | Exception:
    try:
        return cutter.look(row.file, stop)
    except (ValueError, OSError) as error:
        return error


def _listed(lines: Sequence[int]) -> str:
    return ", ".join(map(str, lines[:20])) + (", ..." if len(lines) > 20 else "")


@dataclass(frozen=True)
class Folder:
    """The files of an index, each a source, as a preprocessor. Every factor is static.

    Attributes:
        index: The files with their splits and factors.
        files: What `look_at_files` found in them.
        cutter: Cuts the files into records.
        features: What the records look like.
        name: Of the data set, `[a-z0-9_-]{1,80}`.
        licence: Under what terms the records may be used.
        attribution: Whom to name.

    Raises:
        ValueError: If the name is not as above, a split has no file that is long enough for a record, or the same
            content is in two splits.
    """

    index: Index
    files: Sequence[tuple[Row, Look]]
    cutter: Cutter
    features: Features
    name: str
    licence: str = "unknown"
    attribution: str = "unknown"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_-]{1,80}", self.name):
            raise ValueError(
                f"the name {self.name!r} is not made of 1 to 80 of a-z 0-9 _ -: give the data set another --name"
            )
        for split in SPLITS:
            lengths = self._lengths(split)
            if lengths and not any(map(self.cutter.window.count, lengths)):
                raise ValueError(
                    f"no file of the split {split} is long enough: a record has {self.cutter.window.frames} frames, "
                    f"the longest file {max(lengths)}"
                )
        first: dict[str, Row] = {}
        for row, look in self.files:
            other = first.setdefault(look.sha256, row)
            if other.split != row.split:
                raise ValueError(
                    f"lines {other.line} and {row.line} of the CSV, {other.path} and {row.path}, have the same content "
                    f"and are in {other.split} and {row.split}: it belongs to one split"
                )

    @property
    def info(self) -> DatasetInfo:
        """What the data set is."""
        return DatasetInfo(self.name, self.licence, self.attribution, self.features, dict(self.index.classes), {})

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """What decides the records: how they are cut, and a hash of the files, their splits and their factors."""
        facts = [(row.line, row.path, row.split, sorted(row.cells.items()), look.sha256) for row, look in self.files]
        sha256 = hashlib.sha256(repr(facts).encode()).hexdigest()
        return {"files_sha256": sha256, **self.cutter.parameters, "left_out": self.left_out}

    @cached_property
    def left_out(self) -> dict[Split, dict[str, int]]:
        """By split: files that are too short for one record, and frames of the others that are in no record."""
        window = self.cutter.window
        found: dict[Split, dict[str, int]] = {}
        for split in SPLITS:
            if lengths := self._lengths(split):
                long = [length for length in lengths if window.count(length)]
                found[split] = {"files": len(lengths) - len(long), "frames": sum(map(window.left_out, long))}
        return found

    def sources(self, split: Split) -> Sequence[str]:
        """The paths of a split, as the CSV has them; those too short for a record are left out."""
        count = self.cutter.window.count
        return [row.path for row, look in self.files if row.split == split and count(look.frames)]

    def records(self, source: str, rng: np.random.Generator) -> Iterator[Record]:
        """The records of a file, in order; nothing in them is random. Keys begin with the line in the CSV."""
        row, look = self._by_path[source]
        stem = re.sub(r"[^a-z0-9]+", "-", row.file.stem.lower()).strip("-")[:60]
        about: dict[str, Any] = {"factors": self.index.factors(row), "source": row.path}
        if look.rate is not None:
            about["rate"] = look.rate
        yield from self.cutter.records(row.file, f"{row.line:06d}-{stem}".rstrip("-"), **about)

    @cached_property
    def _by_path(self) -> dict[str, tuple[Row, Look]]:
        return {row.path: (row, look) for row, look in self.files}

    def _lengths(self, split: Split) -> list[int]:
        return [look.frames for row, look in self.files if row.split == split]
