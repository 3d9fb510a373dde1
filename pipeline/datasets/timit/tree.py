"""The files of TIMIT as it is in circulation, and the splits of its speakers."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqviews.pipeline.datasets.timit.sphere import Fault
from seqviews.pipeline.manifest import Split

LEVELS = {"timit", "data"}  # folders that TRAIN and TEST may be in, one inside the other
PARTS = ("train", "test")
SENTENCE = re.compile(r"(s[aix]\d{1,4})\.wav(\.wav)?")
SPEAKER = re.compile(r"[fm][a-z]{3}\d")
DIALECT = re.compile(r"dr[1-8]")

# The published lists: 50 speakers for development and the 24 of the core test set, all of them in TEST.
_DEV = """
fadg0 faks0 fcal1 fcmh0 fdac1 fdms0 fdrw0 fedw0 fgjd0 fjem0 fjmg0 fjsj0 fkms0 fmah0 fmml0 fnmr0 frew0 fsem0 majc0
mbdg0 mbns0 mbwm0 mcsh0 mdlf0 mdls0 mdvc0 mers0 mgjf0 mglb0 mgwt0 mjar0 mjfc0 mjsw0 mmdb1 mmdm2 mmjr0 mmwh0 mpdf0
mrcs0 mreb0 mrjm4 mrjr0 mroa0 mrtk0 mrws1 mtaa0 mtdt0 mteb0 mthc0 mwjg0
"""
_CORE_TEST = """
fdhc0 felc0 fjlm0 fmgd0 fmld0 fnlp0 fpas0 fpkt0 mbpm0 mcmj0 mdab0 mgrt0 mjdh0 mjln0 mjmp0 mklt0 mlll0 mlnt0 mnjm0
mpam0 mtas1 mtls0 mwbt0 mwew0
"""
DEV, CORE_TEST = frozenset(_DEV.split()), frozenset(_CORE_TEST.split())


@dataclass(frozen=True, slots=True)
class Utterance:
    """A sound file and what its path says of it, in lower case."""

    file: Path
    part: str
    dialect: str
    speaker: str
    sentence: str

    @property
    def name(self) -> str:
        """Its path as on the disk, in lower case: `train/dr1/fcjf0/sx37`."""
        return f"{self.part}/{self.dialect}/{self.speaker}/{self.sentence}"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that is left out because something is wrong with it."""

    path: Path
    fault: Fault
    message: str


@dataclass(frozen=True, slots=True)
class Tree:
    """What was found below a folder.

    Attributes:
        utterances: Sorted by name.
        skipped: What does not belong into TIMIT.
        left_out: Files that are there as they should but not wanted: SA sentences, second copies in another container.
    """

    utterances: tuple[Utterance, ...]
    skipped: tuple[Skipped, ...]
    left_out: Mapping[str, int]


def find_utterances(folder: Path, keep_sa: bool = False) -> Tree:
    """Find the sentences of TIMIT: `TRAIN/DR1/FCJF0/SX37.WAV`, in upper or lower case, also below `TIMIT/` or `data/`.

    Args:
        folder: The folder with TRAIN and TEST, or with `TIMIT/` or `data/`.
        keep_sa: Keep SA1 and SA2, which every speaker says.

    Raises:
        ValueError: If TRAIN or TEST is not there or has no speakers, or a speaker is in two folders.
        OSError: If a folder cannot be read.
    """
    skipped: list[Skipped] = []
    left_out = Counter[str]()
    found: list[Utterance] = []
    homes: dict[str, Path] = {}
    for part, dialect, speaker, home in _speakers(folder, skipped):
        other = homes.setdefault(speaker, home)
        if other != home:
            raise ValueError(f"speaker {speaker} is in {other} and in {home}: a speaker has one folder, in one split")
        files: dict[str, Path] = {}
        for file in _listed(home):
            name = file.name.lower()
            match = SENTENCE.fullmatch(name)
            if match is None:
                if ".wav" in name:
                    skipped.append(Skipped(file, "unknown", f"{file} is not named as a sentence of TIMIT, SX37.WAV"))
            elif match[1].startswith("sa") and not keep_sa:
                left_out["sa"] += 1
            elif files.setdefault(match[1], file) != file:
                left_out["second_copies"] += 1  # SX37.WAV and SX37.WAV.wav, which sorts behind it
        found += [Utterance(file, part, dialect, speaker, sentence) for sentence, file in files.items()]
    for part in PARTS:
        if not any(utterance.part == part for utterance in found):
            raise ValueError(
                f"{folder} has no sentences of speakers in {part.upper()}: --timit is the folder that holds "
                "TRAIN/DR1/FCJF0/SX37.WAV and so on"
            )
    return Tree(tuple(sorted(found, key=lambda utterance: utterance.name)), tuple(skipped), dict(left_out))


def assign_splits(tree: Tree, seed: int = 0) -> dict[str, Split]:
    """The split of each speaker; one that is not here is in none.

    If all standard speakers are there, their splits: TRAIN, the 50 of development as `val`, the core test as `test`;
    the others in TEST are in none. Else TRAIN and TEST, and a tenth of TRAIN's speakers, by seed, as `val`; at least
    one, but for a single speaker.
    """
    train, test = (sorted({u.speaker for u in tree.utterances if u.part == part}) for part in PARTS)
    splits: dict[str, Split] = dict.fromkeys(train, "train")
    if set(test) >= DEV | CORE_TEST:
        return splits | dict.fromkeys(sorted(DEV), "val") | dict.fromkeys(sorted(CORE_TEST), "test")
    order = np.random.default_rng(seed).permutation(len(train))[: max(round(len(train) / 10), len(train) > 1)]
    return splits | dict.fromkeys([train[i] for i in sorted(order)], "val") | dict.fromkeys(test, "test")


def is_standard(splits: Mapping[str, Split]) -> bool:
    """Whether splits are the standard ones."""
    of = {split: {speaker for speaker, s in splits.items() if s == split} for split in ("val", "test")}
    return of == {"val": DEV, "test": CORE_TEST}


def _speakers(folder: Path, skipped: list[Skipped]) -> Iterator[tuple[str, str, str, Path]]:
    """Part, dialect, speaker and folder of each speaker; what is no folder of a speaker is noted."""
    for part_folder in _part_folders(folder):
        for dialect in _folders(part_folder):
            if not DIALECT.fullmatch(dialect.name.lower()):
                skipped.append(Skipped(dialect, "unknown", f"{dialect} is not a dialect region, DR1 to DR8"))
                continue
            for speaker in _folders(dialect):
                if SPEAKER.fullmatch(speaker.name.lower()):
                    yield part_folder.name.lower(), dialect.name.lower(), speaker.name.lower(), speaker
                else:
                    skipped.append(Skipped(speaker, "unknown", f"{speaker} is not named as a speaker, FCJF0"))


def _part_folders(folder: Path) -> Sequence[Path]:
    inside = _folders(folder)
    parts = [path for path in inside if path.name.lower() in PARTS]
    if parts:
        return parts
    return [part for path in inside if path.name.lower() in LEVELS for part in _part_folders(path)]


def _folders(folder: Path) -> list[Path]:
    return [path for path in _listed(folder) if path.is_dir()]


def _listed(folder: Path) -> list[Path]:
    """What is in a folder, in an order that does not depend on upper and lower case."""
    # not Path.glob, which passes over a folder that it may not read
    with os.scandir(folder) as entries:
        paths: Iterable[Path] = [Path(entry.path) for entry in entries]
    return sorted(paths, key=lambda path: (path.name.lower(), path.name))
