"""Takes of MUG: the folders of pictures in its tree, and what the first reading of each finds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Literal, TypeAlias

import numpy as np

from seqviews.pipeline.sources.faces import Box, find_face
from seqviews.pipeline.sources.survey import FileSurvey, hash_files, until
from seqviews.pipeline.sources.video import list_images, read_image

Face: TypeAlias = Literal["cascade", "centre", "none"]
Fault: TypeAlias = Literal["empty", "damaged", "sizes", "short"]
EXPRESSIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
NEUTRAL = "neutral"
SUBJECT, TAKE = re.compile(r"[0-9]{3}"), re.compile(r"take[0-9]{3}")
RATE = 19.0  # pictures a second
LOOKED_AT = 5  # pictures of a take in which a face is looked for


class Unusable(ValueError):
    """A take that cannot be used: the kind of fault, and a message that names its folder."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(fault, message)  # both, so that it survives pickling
        self.fault, self.message = fault, message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Take:
    """A folder of pictures: one person shows one expression, from neutral and back."""

    folder: Path
    subject: str
    expression: str

    @property
    def name(self) -> str:
        """The path below the people's folder: `001/anger/take000`."""
        return f"{self.subject}/{self.expression}/{self.folder.name}"


@dataclass(frozen=True, slots=True)
class Tree:
    """The takes of a folder, sorted by name, and the number of those that are left out, by reason."""

    takes: tuple[Take, ...]
    left_out: Mapping[str, int]


def find_takes(folder: Path, keep_neutral: bool = False) -> Tree:
    """Find the takes `001/anger/take000`, in the folder or in one below it, such as `subjects3`.

    Takes of other names or other expressions, and without `keep_neutral` those of no expression, are left out.

    Raises:
        ValueError: If there is no take, or a person is in two folders.
        OSError: If a folder cannot be read.
    """
    takes: list[Take] = []
    left_out = Counter[str]()
    homes: dict[str, Path] = {}
    for home in [path for part in (folder, *_folders(folder)) for path in _folders(part)]:
        if not SUBJECT.fullmatch(home.name):
            continue
        if (first := homes.setdefault(home.name, home)) != home:
            raise ValueError(f"person {home.name} is in {first} and in {home}: give --mug the folder of one of them")
        for expression in _folders(home):
            for path in _folders(expression):
                if expression.name == NEUTRAL and not keep_neutral:
                    left_out["neutral"] += 1
                elif expression.name not in (*EXPRESSIONS, NEUTRAL):
                    left_out["other_expressions"] += 1
                elif not TAKE.fullmatch(path.name):
                    left_out["other_names"] += 1
                else:
                    takes.append(Take(path, home.name, expression.name))
    if not takes:
        raise ValueError(f"{folder} has no takes: --mug is the folder with 001/anger/take000 and so on, or one above")
    return Tree(tuple(sorted(takes, key=lambda take: take.name)), dict(left_out))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


@dataclass(frozen=True, slots=True, eq=False)
class TakeSurvey(FileSurvey):
    """What the first reading of a take found; also the box of its face, None if there is none, and its size."""

    face: Box | None = None
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class TakeReader:
    """Reads every picture of a take, and looks for a face in some; takes of fewer than `min_frames` are unusable."""

    face: Face = "cascade"
    min_frames: int = 1

    def survey(self, file: Path, stop: Event) -> TakeSurvey:
        """See `Surveyor.survey`. Raises `Unusable`."""
        try:
            images = list_images(file)
        except ValueError as error:
            raise Unusable("empty", str(error)) from None
        except OSError as error:
            raise Unusable("damaged", f"{file} cannot be read: {error.strerror}") from None
        if len(images) < self.min_frames:
            raise Unusable("short", f"{file} has {len(images)} pictures, fewer than {self.min_frames}")
        looked_at = set(np.linspace(0, len(images) - 1, LOOKED_AT).astype(int).tolist())
        sizes: dict[tuple[int, int], Path] = {}
        pictures = []
        try:
            for number, image in enumerate(until(stop, images)):
                picture = read_image(image)
                sizes.setdefault((picture.shape[0], picture.shape[1]), image)
                if number in looked_at:
                    pictures.append(picture)
            digest = hash_files(images)
        except InterruptedError:
            raise
        except (ValueError, OSError) as error:
            raise Unusable("damaged", f"{file}: {error}") from None
        if len(sizes) > 1:
            ((height, width), first), ((height_2, width_2), second) = list(sizes.items())[:2]
            found = f"{first} is {width} x {height} and {second.name} is {width_2} x {height_2}"
            raise Unusable("sizes", f"{found}: the pictures of a take must have the same size")
        box = find_face(pictures) if self.face == "cascade" else None
        return TakeSurvey(len(images), RATE, digest, face=box, size=next(iter(sizes)))
