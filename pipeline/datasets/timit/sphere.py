"""Read the sound files of TIMIT, NIST SPHERE or RIFF, and report why a file is unusable."""

import os
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.sources.audio import read_wave, unstated_seconds

Fault: TypeAlias = Literal["damaged", "compressed", "stereo", "rate", "empty", "silent", "short", "unknown"]
SAMPLE_RATE = 16_000
MAX_HEADER = 1 << 16
NUMBERS = ("sample_count", "channel_count", "sample_n_bytes", "sample_rate")


class Unusable(ValueError):
    """A file that cannot be cut into records: the kind of fault, and a message that names the file."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(fault, message)  # both, so that it survives pickling
        self.fault, self.message = fault, message

    def __str__(self) -> str:
        return self.message


def read_utterance(path: Path) -> NDArray[np.float32]:
    """Read a file of one channel at 16 kHz, SPHERE or RIFF by its content: float32 `[samples]`, full scale is 1.

    Raises:
        Unusable: If it cannot be read, is damaged, truncated, shorten-compressed or empty, has another rate or number
            of channels, has a value that is not finite, or all its values are equal.
    """
    import soundfile

    try:
        with path.open("rb") as file:
            head, size = file.read(MAX_HEADER), file.seek(0, os.SEEK_END)
        if not head:
            raise Unusable("empty", f"{path} is empty")
        if head.startswith(b"NIST_1A"):
            _check_sphere(path, head, size)
        info = soundfile.info(path)
    except (soundfile.SoundFileError, OSError) as error:
        raise Unusable("damaged", f"{path} cannot be read as sound: {error}") from None
    if info.channels != 1:
        raise Unusable("stereo", f"{path} has {info.channels} channels: TIMIT has one")
    if info.samplerate != SAMPLE_RATE:
        raise Unusable("rate", f"{path} is at {info.samplerate} Hz: TIMIT is at {SAMPLE_RATE}")
    if not info.frames:
        raise Unusable("empty", f"{path} has no samples")
    try:
        wave, unstated = read_wave(path, SAMPLE_RATE), unstated_seconds(path)
    except ValueError as error:
        raise Unusable("damaged", str(error)) from None
    if unstated:
        raise Unusable("damaged", f"{path} has more sound than its header states: {unstated:.2f} s")
    if wave.min() == wave.max():
        raise Unusable("silent", f"{path} is digital silence")
    return wave


def sphere_fields(head: bytes) -> dict[str, str]:
    r"""The fields of the SPHERE header at the start of a file. Raises `ValueError` if it is incomplete.

    Example:
        >>> sphere_fields(b"NIST_1A\n   1024\nsample_rate -i 16000\nsample_coding -s3 pcm\nend_head\n")
        {'header_bytes': '1024', 'sample_rate': '16000', 'sample_coding': 'pcm'}
    """
    magic, size, *lines = head.decode("latin-1").split("\n")
    if magic != "NIST_1A" or not size.strip().isdecimal() or "end_head" not in lines:
        raise ValueError("its NIST header is damaged")
    fields = {"header_bytes": size.strip()}
    for line in lines[: lines.index("end_head")]:
        name, _, rest = line.partition(" ")
        fields[name] = rest.partition(" ")[2].strip()
    return fields


def _check_sphere(path: Path, head: bytes, size: int) -> None:
    """Check the header against the file: libsndfile trusts the length of the file and reports no difference."""
    try:
        fields = sphere_fields(head)
        count, channels, width, _ = (int(fields[name]) for name in NUMBERS)
    except KeyError as error:
        raise Unusable("damaged", f"{path}: its NIST header has no {error.args[0]}") from None
    except ValueError as error:
        raise Unusable("damaged", f"{path}: {error}") from None
    coding = fields.get("sample_coding", "pcm")
    if "shorten" in coding:
        advice = "decompress it first with sph2pipe -f rif, or ffmpeg"
        raise Unusable("compressed", f"{path} is compressed by shorten: {advice}")
    if coding != "pcm":
        raise Unusable("damaged", f"{path} is coded as {coding!r}, not as pcm")
    stated, found = count * channels * width, size - int(fields["header_bytes"])
    if stated != found:
        problem = "is truncated" if stated > found else "has more sound than its header states"
        raise Unusable("damaged", f"{path} {problem}: the header states {stated} bytes, the file has {found}")
