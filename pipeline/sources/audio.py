"""Sound: waves to log-mel frames of 10 ms, and sound files to segments."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.features import Features, MelFeatures, MelParameters
from seqviews.pipeline.records import Segment
from seqviews.pipeline.sources.containers import riff_sound
from seqviews.pipeline.sources.survey import FileSurvey, hash_files
from seqviews.pipeline.sources.windows import Window

MEL = MelParameters()
BLOCK = 1 << 16
FLAC_END = 39  # libsndfile's error at the end of a FLAC file that states no length


def log_mel(wave: NDArray[np.float32], mel: MelParameters = MEL) -> NDArray[np.float32]:
    """The natural logarithm of the mel power of a wave, float32 `[1 + samples // hop_length, n_mels]`.

    Frame i is centred on sample `i * hop_length` under a periodic Hann window; the wave is reflected at its ends. The
    filters are triangles of equal area on Slaney's mel scale.

    Args:
        wave: float32 `[samples]` in [-1, 1], at `mel.sample_rate`.
        mel: The filterbank.

    Raises:
        ValueError: If the wave is not float32 `[samples]`, has a value that is not finite, or is shorter than `n_fft`.

    Example:
        >>> tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
        >>> log_mel(tone).shape, int(log_mel(tone)[50].argmax())
        ((101, 80), 26)
    """
    import librosa

    if wave.dtype != np.float32 or wave.ndim != 1:
        raise ValueError(f"the wave is {wave.dtype} {list(wave.shape)}, not float32 [samples]")
    if len(wave) < mel.n_fft:
        raise ValueError(f"the wave has {len(wave)} samples, fewer than the {mel.n_fft} of one transform")
    if not np.isfinite(wave).all():
        raise ValueError("the wave has values that are not finite")
    transform: dict[str, Any] = {"n_fft": mel.n_fft, "win_length": mel.win_length, "hop_length": mel.hop_length}
    transform |= {"window": "hann", "center": True, "pad_mode": "reflect", "power": 2.0}
    transform |= {"n_mels": mel.n_mels, "fmin": mel.f_min, "fmax": mel.f_max, "htk": False, "norm": mel.norm}
    power = librosa.feature.melspectrogram(y=wave, sr=mel.sample_rate, **transform)
    features: NDArray[np.float32] = np.log(np.maximum(power, mel.floor)).T.astype(np.float32, order="C")
    return features


def read_wave(path: Path, sample_rate: int = 16_000) -> NDArray[np.float32]:
    """Read a file that libsndfile can read, mixed down to one channel and resampled: float32 `[samples]`, full scale 1.

    Raises:
        ValueError: If the file cannot be read, is truncated or empty, or has a value that is not finite.
    """
    import soxr

    channels, found_rate, _ = _read(path)
    if not len(channels):
        raise ValueError(f"{path} has no samples")
    if not np.isfinite(channels).all():
        raise ValueError(f"{path} has samples that are not finite")
    wave: NDArray[np.float32] = channels.mean(axis=1, dtype=np.float32)
    return wave if found_rate == sample_rate else soxr.resample(wave, found_rate, sample_rate)


def unstated_seconds(path: Path) -> float:
    """The sound, in seconds, that a WAV or FLAC file holds after the end that its header states.

    Raises:
        ValueError: If the file cannot be read or is truncated.
    """
    return _read(path)[2]


def _read(path: Path) -> tuple[NDArray[np.float32], int, float]:
    """The samples `[samples, channels]` that the header states, their rate, and the seconds of sound after them."""
    import soundfile

    blocks: list[NDArray[np.float32]] = []
    try:
        flac, stated = _flac_without_length(path)
        with soundfile.SoundFile(flac or path) as file:
            while not blocks or len(blocks[-1]) == BLOCK:  # some formats state no length, or a false one
                block = np.full((BLOCK, file.channels), np.nan, np.float32)
                try:
                    blocks.append(file.read(out=block))
                except soundfile.LibsndfileError as error:
                    if not flac or error.code != FLAC_END:
                        raise
                    blocks.append(block[: np.isfinite(block[:, 0]).sum()])
            rate = file.samplerate
        sound, rest = riff_sound(path)
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError(f"{path} cannot be read as sound: {error}") from None
    channels = np.concatenate(blocks)
    if stated:
        if len(channels) < stated:
            raise ValueError(f"{path} is truncated: its header states {stated} samples, it has {len(channels)}")
        return channels[:stated], rate, (len(channels) - stated) / rate
    if rest < 0:  # libsndfile reads what is there and reports nothing
        raise ValueError(f"{path} is truncated: its header states {sound} bytes of sound")
    return channels, rate, rest * len(channels) // sound / rate if sound else 0.0


def _flac_without_length(path: Path) -> tuple[io.BytesIO | None, int]:
    """A FLAC file whose header states no length, so that all of it is read, and the length that it stated."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
        start = head.find(b"fLaC") if head.startswith((b"fLaC", b"ID3")) else -1
        if start < 0 or len(head) < start + 26:
            return None, 0
        data = bytearray(head + file.read())
    length = slice(start + 21, start + 26)
    stated = int.from_bytes(data[length], "big") & 0xF_FFFF_FFFF
    data[length] = bytes([data[start + 21] & 0xF0, 0, 0, 0, 0])
    return io.BytesIO(data), stated


class Converter(Protocol):
    """Converts a wave to other voices, as `augment.VoiceConverter` does. It is sent to processes: it must pickle."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Everything that decides the voices, for the manifest."""

    def __call__(self, wave: NDArray[np.float32], seeds: Sequence[int]) -> NDArray[np.float32]:
        """A wave `[samples]` at 16 kHz in the voices of K seeds, `[K, samples]`, with the same timing."""


@dataclass(frozen=True, slots=True)
class SegmentCutter:
    """Cuts sound files into log-mel segments of the window's frames, each stored in `voices` other voices as well.

    The seeds of the voices are drawn for each file; without voices no converter is needed. Raises `ValueError` if an
    attribute is out of bounds.
    """

    window: Window
    mel: MelParameters = field(default_factory=MelParameters)
    voices: int = 0
    converter: Converter | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.mel.n_mels <= 128 or not 0 <= self.voices <= 1000:
            raise ValueError(f"{self.mel.n_mels} mels and {self.voices} other voices: 1 to 128 mels, 0 to 1000 voices")
        if self.voices and self.converter is None:
            raise ValueError(f"{self.voices} other voices need a converter")

    @property
    def parameters(self) -> dict[str, Any]:
        """See `Cutter.parameters`."""
        return self.window.parameters

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.mel.sample_rate / self.mel.hop_length

    def read(self, file: Path) -> NDArray[np.float32]:
        """The wave of a file, float32 `[samples]`."""
        return read_wave(file, self.mel.sample_rate)

    def sha256(self, file: Path, wave: NDArray[np.float32]) -> str:
        """Hash of the file's content."""
        return hash_files([file])

    def survey(self, file: Path, stop: Event) -> FileSurvey:
        """Read the wave and add up its mels."""
        wave = self.read(file)
        mels = self._mels(wave)
        used = mels[: len(mels) - self.window.left_out(len(mels))].astype(np.float64)
        sums = np.stack([used.sum(axis=0), np.square(used).sum(axis=0)])
        seconds = unstated_seconds(file)
        remark = f"{seconds:.2f} s of sound after the end that its header states are left out" if seconds else ""
        return FileSurvey(len(mels), self.rate, self.sha256(file, wave), sums, remark)

    def features(self, surveys: Sequence[FileSurvey], train: Sequence[FileSurvey]) -> Features:
        """See `Cutter.features`; mean and deviation come from `train`. Raises `ValueError` if it has no segments."""
        frames = sum(survey.frames - self.window.left_out(survey.frames) for survey in train)
        if not frames:
            raise ValueError("no file of the split train is as long as a segment: mean and deviation come from there")
        mean, square = np.stack([survey.sums for survey in train if survey.sums is not None]).sum(axis=0) / frames
        std = np.sqrt(np.maximum(square - mean**2, 0))
        mel = MelFeatures(tuple(mean.tolist()), tuple(std.tolist()), self.voices, self.mel)
        least, greatest = self.window.frame_counts([survey.frames for survey in surveys])
        return Features.for_segments(greatest, mel, least if least < greatest else None)

    def records(self, file: Path, key: str, rng: np.random.Generator, **facts: Any) -> Iterator[Segment]:
        """The segments of a file, in order; only the other voices are random."""
        wave = self.read(file)
        mels, voices = self._mels(wave), None
        if self.voices and self.converter is not None:
            waves = self.converter(wave, rng.integers(0, 1 << 63, self.voices).tolist())
            voices = np.stack([self._mels(wave) for wave in waves]).astype(np.float16)
        for number, part in enumerate(self.window.parts(len(mels))):
            converted = None if voices is None else voices[:, part]
            start = part.start * self.mel.hop_length / self.mel.sample_rate
            yield Segment(key.format(number), mels[part], converted, start=start, **facts)

    def _mels(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 `[frames, n_mels]`; no frames if the wave is shorter than one transform."""
        if len(wave) < self.mel.n_fft:
            return np.empty((0, self.mel.n_mels), np.float32)
        return log_mel(wave, self.mel)
