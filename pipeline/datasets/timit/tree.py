"""The files of TIMIT in its common forms, and the splits of its speakers."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqviews.pipeline.datasets.timit.sphere import Fault
from seqviews.pipeline.manifest import Split

LEVELS = {"timit", "data"}  # folders that may contain TRAIN and TEST, possibly nested
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
    """A sound file and the parts of its path, in lower case."""

    file: Path
    part: str
    dialect: str
    speaker: str
    sentence: str

    @property
    def name(self) -> str:
        """The path below the root, in lower case: `train/dr1/fcjf0/sx37`."""
        return f"{self.part}/{self.dialect}/{self.speaker}/{self.sentence}"

    @property
    def labels(self) -> dict[str, str]:
        """The class of each factor; the first letter of a speaker is the sex."""
        speaker = self.speaker
        return {"speaker": speaker, "sex": speaker[0], "dialect": self.dialect, "sentence": self.sentence}


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that cannot be used, and why."""

    path: Path
    fault: Fault
    message: str


@dataclass(frozen=True, slots=True)
class Tree:
    """The contents of a folder of TIMIT: the utterances sorted by name, and what does not belong to TIMIT."""

    utterances: tuple[Utterance, ...]
    skipped: tuple[Skipped, ...]
    left_out: Mapping[str, int]  # valid files that are not used: SA sentences, second copies in another container


def find_utterances(folder: Path, keep_sa: bool = False) -> Tree:
    """Find the sentences of TIMIT: `TRAIN/DR1/FCJF0/SX37.WAV`, upper or lower case, or below `TIMIT/` or `data/`.

    `keep_sa` keeps SA1 and SA2, which every speaker reads.

    Raises:
        ValueError: If TRAIN or TEST is missing or has no speakers, or a speaker is in two folders.
        OSError: If a folder cannot be read.
    """
    skipped: list[Skipped] = []
    left_out = Counter[str]()
    found: list[Utterance] = []
    homes: dict[str, Path] = {}
    for part, dialect, speaker, home in _speakers(folder, skipped):
        first = homes.setdefault(speaker, home)
        if first != home:
            raise ValueError(f"speaker {speaker} is in {first} and in {home}: a speaker has one folder, in one split")
        files: dict[str, Path] = {}
        for file in _listed(home):
            name = file.name.lower()
            match = SENTENCE.fullmatch(name)
            if match is None:
                if ".wav" in name:
                    skipped.append(Skipped(file, "unknown", f"{file} is not named like a sentence of TIMIT, SX37.WAV"))
            elif match[1].startswith("sa") and not keep_sa:
                left_out["sa"] += 1
            elif files.setdefault(match[1], file) != file:
                left_out["second_copies"] += 1  # SX37.WAV and SX37.WAV.wav, which sorts after it
        found += [Utterance(file, part, dialect, speaker, sentence) for sentence, file in files.items()]
    for part in PARTS:
        if not any(utterance.part == part for utterance in found):
            advice = "--timit is the folder that holds TRAIN/DR1/FCJF0/SX37.WAV and so on"
            raise ValueError(f"{folder} has no sentences of speakers in {part.upper()}: {advice}")
    return Tree(tuple(sorted(found, key=lambda utterance: utterance.name)), tuple(skipped), dict(left_out))


def assign_splits(tree: Tree, seed: int = 0) -> dict[str, Split]:
    """The split of each speaker; speakers that are not in the result are in no split.

    If all standard speakers are present, the splits are TRAIN, the 50 development speakers as `val` and the core test
    set as `test`; other speakers in TEST are in no split. Otherwise the splits are TRAIN and TEST, and a tenth of the
    speakers in TRAIN, chosen by seed, becomes `val`: at least one, unless there is a single speaker.
    """
    train, test = (sorted({u.speaker for u in tree.utterances if u.part == part}) for part in PARTS)
    splits: dict[str, Split] = dict.fromkeys(train, "train")
    if set(test) >= DEV | CORE_TEST:
        return splits | dict.fromkeys(sorted(DEV), "val") | dict.fromkeys(sorted(CORE_TEST), "test")
    order = np.random.default_rng(seed).permutation(len(train))[: max(round(len(train) / 10), len(train) > 1)]
    return splits | dict.fromkeys([train[i] for i in sorted(order)], "val") | dict.fromkeys(test, "test")


def is_standard(splits: Mapping[str, Split]) -> bool:
    """Whether these are the standard splits."""
    speakers = {split: {speaker for speaker, s in splits.items() if s == split} for split in ("val", "test")}
    return speakers == {"val": DEV, "test": CORE_TEST}


def _speakers(folder: Path, skipped: list[Skipped]) -> Iterator[tuple[str, str, str, Path]]:
    """Part, dialect, speaker and folder of each speaker; other folders are added to `skipped`."""
    for part_folder in _part_folders(folder):
        for dialect in _folders(part_folder):
            if not DIALECT.fullmatch(dialect.name.lower()):
                skipped.append(Skipped(dialect, "unknown", f"{dialect} is not a dialect region, DR1 to DR8"))
                continue
            for speaker in _folders(dialect):
                if SPEAKER.fullmatch(speaker.name.lower()):
                    yield part_folder.name.lower(), dialect.name.lower(), speaker.name.lower(), speaker
                else:
                    skipped.append(Skipped(speaker, "unknown", f"{speaker} is not named like a speaker, FCJF0"))


def _part_folders(folder: Path) -> Sequence[Path]:
    inside = _folders(folder)
    parts = [path for path in inside if path.name.lower() in PARTS]
    return parts or [part for path in inside if path.name.lower() in LEVELS for part in _part_folders(path)]


def _folders(folder: Path) -> list[Path]:
    return [path for path in _listed(folder) if path.is_dir()]


def _listed(folder: Path) -> list[Path]:
    """The contents of a folder, in an order that does not depend on case."""
    # not Path.glob, which silently skips a folder without read permission
    return sorted(folder.iterdir(), key=lambda path: (path.name.lower(), path.name))
