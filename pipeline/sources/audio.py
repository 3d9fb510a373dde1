"""Log-mel features of speech: waves to frames of 10 ms."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.manifest import MelParameters

MEL = MelParameters()
UNKNOWN_SIZE = 0x7FFF_F000  # a WAV that was written to a pipe says this or more


def log_mel(wave: NDArray[np.float32], mel: MelParameters = MEL) -> NDArray[np.float32]:
    """The natural logarithm of the mel power of a wave.

    Frame i is centred on sample `i * hop_length`, under a periodic Hann window; beyond its ends the wave is reflected.
    The filters are triangles on Slaney's mel scale, each of the same area.

    Args:
        wave: float32 `[samples]` in [-1, 1], at `mel.sample_rate`.
        mel: The filterbank.

    Returns:
        float32 `[frames, n_mels]`, `frames = 1 + samples // hop_length`.

    Raises:
        ValueError: If the wave is not float32 `[samples]`, has a value that is not finite, or is shorter than `n_fft`.

    Example:
        >>> tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
        >>> features = log_mel(tone)
        >>> features.shape, int(features[50].argmax())
        ((101, 80), 26)
    """
    import librosa

    if wave.dtype != np.float32 or wave.ndim != 1:
        raise ValueError(f"the wave is {wave.dtype} {list(wave.shape)}, not float32 [samples]")
    if len(wave) < mel.n_fft:
        raise ValueError(f"the wave has {len(wave)} samples, fewer than the {mel.n_fft} of one transform")
    if not np.isfinite(wave).all():
        raise ValueError("the wave has values that are not finite")
    power = librosa.feature.melspectrogram(
        y=wave,
        sr=mel.sample_rate,
        n_fft=mel.n_fft,
        win_length=mel.win_length,
        hop_length=mel.hop_length,
        n_mels=mel.n_mels,
        fmin=mel.f_min,
        fmax=mel.f_max,
        window="hann",
        center=True,
        pad_mode="reflect",
        power=2.0,
        htk=False,
        norm=mel.norm,
    )
    features: NDArray[np.float32] = np.log(np.maximum(power, mel.floor)).T.astype(np.float32, order="C")
    return features


def read_wave(path: Path, sample_rate: int = 16_000) -> NDArray[np.float32]:
    """Read a WAV or FLAC file, mixed down to one channel and resampled.

    Args:
        path: A file that libsndfile can read.
        sample_rate: What to resample to, in Hz.

    Returns:
        float32 `[samples]`; full scale is 1.

    Raises:
        ValueError: If it cannot be read, is cut short or empty, or has a value that is not finite.
    """
    import soundfile
    import soxr

    try:
        with soundfile.SoundFile(path) as file:
            channels, found_rate = file.read(dtype="float32", always_2d=True), file.samplerate
            said = re.search(r"^data : (\d+) \(should be", file.extra_info, re.MULTILINE)
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError(f"{path} cannot be read as sound: {error}") from None
    if said and 0 < int(said[1]) < UNKNOWN_SIZE:  # libsndfile goes by the length of the file, and says nothing
        raise ValueError(f"{path} is cut short: its header says {said[1]} bytes of sound")
    if not len(channels):
        raise ValueError(f"{path} has no samples")
    if not np.isfinite(channels).all():
        raise ValueError(f"{path} has samples that are not finite")
    mono: NDArray[np.float32] = channels.mean(axis=1, dtype=np.float32)
    if found_rate == sample_rate:
        return mono
    wave: NDArray[np.float32] = soxr.resample(mono, found_rate, sample_rate)
    return wave
