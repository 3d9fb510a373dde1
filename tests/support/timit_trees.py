"""Small trees of TIMIT with synthetic sounds; the processes of a preparation import this module."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

SENTENCES = ("SA1", "SA2", "SI7", "SX37", "SX8")
PEOPLE = {"TRAIN": ("DR1/FCJF0", "DR2/MABC1", "DR8/MXYZ0"), "TEST": ("DR3/FDHC0", "DR4/MWBT0")}
RATE = 16_000


def samples_of(name: str) -> NDArray[np.int16]:
    """The sound of an utterance: noise of 0.5 to 0.9 s that depends on its name alone."""
    rng = np.random.default_rng(list(name.lower().encode()))
    return rng.normal(0, 2000, rng.integers(8000, 14_400)).astype(np.int16)


def write_tree(
    folder: Path,
    people: Mapping[str, Sequence[str]] = PEOPLE,
    *,
    lower: bool = False,
    riff: bool = False,
    suffix: str = ".WAV",
    sentences: Sequence[str] = SENTENCES,
) -> Path:
    """Write a tree as on the disk, in one of its common forms."""
    fold = str.lower if lower else str.upper
    for part, homes in people.items():
        for home in homes:
            for sentence in sentences:
                name = fold(f"{part}/{home}/{sentence}")
                path = folder / (name + (suffix.lower() if lower else suffix))
                path.parent.mkdir(parents=True, exist_ok=True)
                samples = samples_of(name)
                path.write_bytes(sphere(samples))
                if riff:
                    soundfile.write(path, samples, RATE, subtype="PCM_16", format="WAV")
                path.with_name(path.name.partition(".")[0] + fold(".txt")).write_text("0 1 words\n")
    return folder


def sphere(samples: NDArray[np.int16], **changes: str | None) -> bytes:
    """A SPHERE file with a header like TIMIT's, with fields changed, added or (None) removed."""
    fields: dict[str, str | None] = {"database_id": "-s5 TIMIT", "channel_count": "-i 1"}
    fields |= {"sample_count": f"-i {len(samples)}", "sample_rate": f"-i {RATE}"}
    fields |= {"sample_min": f"-i {samples.min() if len(samples) else 0}", "sample_n_bytes": "-i 2"}
    fields |= {"sample_byte_format": "-s2 01", "sample_sig_bits": "-i 16", **changes}
    lines = ["NIST_1A", "   1024", *(f"{k} {v}" for k, v in fields.items() if v is not None), "end_head", ""]
    return "\n".join(lines).encode().ljust(1024) + samples.astype("<i2").tobytes()


@dataclass(frozen=True)
class Louder:
    """A converter that multiplies by a number that depends on the seed."""

    parameters: dict[str, Any] = field(default_factory=lambda: {"kind": "louder"})

    def __call__(self, wave: NDArray[np.float32], seeds: Sequence[int]) -> NDArray[np.float32]:
        return np.stack([wave * np.float32(1 + seed % 1000 / 1000) for seed in seeds])
