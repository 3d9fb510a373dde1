"""The survey of a data set: every file is read once before anything is written, so that damage is found early."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.features import Features
from seqviews.pipeline.records import Progress, Record, silent
from seqviews.pipeline.sources.windows import Window

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, eq=False)
class FileSurvey:
    """What the first reading of a file found.

    Attributes:
        frames, rate: Number of frames to cut sequences from, and frames per second, None if unknown.
        sha256: Hash of the content.
        sums: float64 `[2, n_mels]`, the sums of the mels and of their squares over the frames in segments.
        remark: What is used of an ambiguous file, or left out of it; empty for other files.
    """

    frames: int
    rate: float | None
    sha256: str
    sums: NDArray[np.float64] | None = None
    remark: str = ""


class Surveyor(Protocol):
    """Reads one kind of file, or folder, for the first time."""

    def survey(self, file: Path, stop: Event) -> FileSurvey:
        """Read a file from beginning to end, or until `stop` is set; raises if the file is damaged."""


class Cutter(Surveyor, Protocol):
    """Cuts one kind of file into records. It is sent to other processes, so it must pickle."""

    @property
    def window(self) -> Window:
        """The frames of each record."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Everything but the files that decides the records, for the manifest."""

    def features(self, surveys: Sequence[FileSurvey], train: Sequence[FileSurvey]) -> Features:
        """The features of the records, given the surveys of all files and of those for training."""

    def records(self, file: Path, key: str, rng: np.random.Generator, **facts: Any) -> Iterator[Record]:
        """The records of a file, all with these facts; `key` is a format of the record's number, as `name-{:05d}`."""


def survey_files(
    files: Sequence[Path], cutter: Surveyor, *, threads: int = 1, label: str = "files read", progress: Progress = silent
) -> list[FileSurvey | ValueError | OSError]:
    """Read every file once and return its survey, or the error that reading it raised.

    `threads` files are read at a time. `progress` is called with the label and the numbers of files read and of all
    files, about twenty times.
    """

    def survey(file: Path) -> FileSurvey | ValueError | OSError:
        try:
            return cutter.survey(file, stop)
        except ImportError:
            raise
        except Exception as error:  # about one file: the others are read too, and all are reported
            if isinstance(error, ValueError | OSError) and str(file) in str(error):
                return error
            return ValueError(f"{file} cannot be read: {type(error).__name__}: {error}")

    stop = Event()
    found: list[FileSurvey | ValueError | OSError] = []
    pool = ThreadPoolExecutor(threads)
    try:
        for result in pool.map(survey, files):
            found.append(result)
            if len(found) % max(1, len(files) // 20) == 0 or len(found) == len(files):
                progress(label, len(found), len(files))
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    return found


def first_leak(files: Iterable[tuple[Item, str, FileSurvey]]) -> tuple[Item, Item] | None:
    """The first two of (item, split, survey) that have the same content in different splits."""
    first: dict[str, tuple[Item, str]] = {}
    for item, split, survey in files:
        earlier, its_split = first.setdefault(survey.sha256, (item, split))
        if its_split != split:
            return earlier, item
    return None


def until(stop: Event, items: Iterable[Item]) -> Iterator[Item]:
    """The items until `stop` is set, which raises InterruptedError."""
    for item in items:
        if stop.is_set():
            raise InterruptedError("stopped")
        yield item


def hash_files(files: Iterable[Path]) -> str:
    """The SHA-256 of the SHA-256s of the files' contents, in order."""
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
