"""Sound: waves to log-mel frames of 10 ms, and sound files to segments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.manifest import Features, MelFeatures, MelParameters
from seqviews.pipeline.records import Segment
from seqviews.pipeline.sources.survey import FileSurvey, hash_files
from seqviews.pipeline.sources.windows import Window

MEL = MelParameters()
UNKNOWN_SIZE = 0x7FFF_F000  # the size that a WAV written to a pipe states, or more


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
    import soundfile
    import soxr

    try:
        with soundfile.SoundFile(path) as file:
            channels, found_rate = file.read(dtype="float32", always_2d=True), file.samplerate
            stated = re.search(r"^data : (\d+) \(should be", file.extra_info, re.MULTILINE)
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError(f"{path} cannot be read as sound: {error}") from None
    if stated and 0 < int(stated[1]) < UNKNOWN_SIZE:  # libsndfile reads what is there and reports nothing
        raise ValueError(f"{path} is truncated: its header states {stated[1]} bytes of sound")
    if not len(channels):
        raise ValueError(f"{path} has no samples")
    if not np.isfinite(channels).all():
        raise ValueError(f"{path} has samples that are not finite")
    wave: NDArray[np.float32] = channels.mean(axis=1, dtype=np.float32)
    return wave if found_rate == sample_rate else soxr.resample(wave, found_rate, sample_rate)


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
        return {"stride": self.window.stride}

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
        return FileSurvey(len(mels), self.rate, self.sha256(file, wave), sums)

    def features(self, surveys: Sequence[FileSurvey], train: Sequence[FileSurvey]) -> Features:
        """See `Cutter.features`; mean and deviation come from `train`. Raises `ValueError` if it has no segments."""
        frames = sum(survey.frames - self.window.left_out(survey.frames) for survey in train)
        if not frames:
            raise ValueError("no file of the split train is as long as a segment: mean and deviation come from there")
        mean, square = np.stack([survey.sums for survey in train if survey.sums is not None]).sum(axis=0) / frames
        std = np.sqrt(np.maximum(square - mean**2, 0))
        mel = MelFeatures(tuple(mean.tolist()), tuple(std.tolist()), self.voices, self.mel)
        return Features.for_segments(self.window.frames, mel)

    def records(self, file: Path, key: str, rng: np.random.Generator, **facts: Any) -> Iterator[Segment]:
        """The segments of a file, in order; only the other voices are random."""
        wave = self.read(file)
        mels, voices = self._mels(wave), None
        if self.voices and self.converter is not None:
            waves = self.converter(wave, rng.integers(0, 1 << 63, self.voices).tolist())
            voices = np.stack([self._mels(wave) for wave in waves]).astype(np.float16)
        for number in range(self.window.count(len(mels))):
            first = number * self.window.stride
            part = slice(first, first + self.window.frames)
            converted = None if voices is None else voices[:, part]
            start = first * self.mel.hop_length / self.mel.sample_rate
            yield Segment(key.format(number), mels[part], converted, start=start, **facts)

    def _mels(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 `[frames, n_mels]`; no frames if the wave is shorter than one transform."""
        if len(wave) < self.mel.n_fft:
            return np.empty((0, self.mel.n_mels), np.float32)
        return log_mel(wave, self.mel)
