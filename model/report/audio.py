"""Hear what a model makes of an utterance: log-mels back to sound by Griffin and Lim's iteration."""

from __future__ import annotations

import io

import librosa
import numpy as np
import soundfile
from numpy.typing import NDArray

from seqviews.pipeline.manifest import MelParameters

ITERATIONS = 32
LOUD = 4.0  # nats above the loudest that speech gets: what a model decodes must not overflow


def mel_to_wave(log_mel: NDArray[np.float32], mel: MelParameters, seed: int = 0) -> NDArray[np.float32]:
    """A sound with this log-mel, as far as there is one: the phases are made up.

    Args:
        log_mel: float32 `[T, n_mels]`, the natural logarithm of the power.
        mel: How it was made.
        seed: Of the phases that the iteration starts from.

    Returns:
        float32 `[samples]`, `(T - 1) * hop_length` of them, in [-1, 1].
    """
    power = np.exp(np.minimum(log_mel, LOUD)).T
    magnitude = librosa.feature.inverse.mel_to_stft(
        power, sr=mel.sample_rate, n_fft=mel.n_fft, power=2.0, fmin=mel.f_min, fmax=mel.f_max, norm=mel.norm
    )
    wave = librosa.griffinlim(
        magnitude,
        n_iter=ITERATIONS,
        hop_length=mel.hop_length,
        win_length=mel.win_length,
        n_fft=mel.n_fft,
        random_state=seed,
    )
    clipped: NDArray[np.float32] = np.clip(wave, -1, 1).astype(np.float32)
    return clipped


def wav(wave: NDArray[np.float32], sample_rate: int) -> bytes:
    """A sound `[samples]` in [-1, 1] as a WAV file of 16 bits."""
    file = io.BytesIO()
    soundfile.write(file, wave, sample_rate, subtype="PCM_16", format="WAV")
    return file.getvalue()
