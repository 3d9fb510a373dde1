"""Sounds of a report: log-mels back to waveforms by the Griffin-Lim algorithm."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import librosa
import numpy as np
import soundfile
from numpy.typing import NDArray

from seqviews.pipeline.features import MelParameters

ITERATIONS = 32
LOUDEST = 4.0  # nats, above any speech: what a model decodes must not overflow


@dataclass(frozen=True, slots=True, eq=False)
class Player:
    """A sound of a report: the utterance that it belongs to, what it is, and a WAV file."""

    heading: str
    caption: str
    wav: bytes


def players_of(heading: str, sounds: Mapping[str, NDArray[np.float32]], mel: MelParameters, seed: int) -> list[Player]:
    """A player for each sound of an utterance, `sounds` being log-mels, float32 `[T, n_mels]`, by caption."""
    waves = {caption: mel_to_wave(log_mel, mel, seed) for caption, log_mel in sounds.items()}
    return [Player(heading, caption, wav(wave, mel.sample_rate)) for caption, wave in waves.items()]


def mel_to_wave(log_mel: NDArray[np.float32], mel: MelParameters, seed: int = 0) -> NDArray[np.float32]:
    """A waveform whose log-mel is close to the given one; its phases are estimated.

    Args:
        log_mel: float32 `[T, n_mels]`, the natural logarithm of the power.
        mel: How it was computed.
        seed: Of the phases that the iteration starts from.

    Returns:
        float32 `[samples]`, `(T - 1) * hop_length` of them, in [-1, 1].
    """
    power = np.exp(np.minimum(log_mel, LOUDEST)).T
    magnitude = librosa.feature.inverse.mel_to_stft(
        power, sr=mel.sample_rate, n_fft=mel.n_fft, power=2.0, fmin=mel.f_min, fmax=mel.f_max, norm=mel.norm
    )
    frame: dict[str, Any] = {"hop_length": mel.hop_length, "win_length": mel.win_length, "n_fft": mel.n_fft}
    wave = librosa.griffinlim(magnitude, n_iter=ITERATIONS, **frame, random_state=seed)
    clipped: NDArray[np.float32] = np.clip(wave, -1, 1).astype(np.float32)
    return clipped


def wav(wave: NDArray[np.float32], sample_rate: int) -> bytes:
    """A waveform `[samples]` in [-1, 1] as a WAV file of 16 bits."""
    file = io.BytesIO()
    soundfile.write(file, wave, sample_rate, subtype="PCM_16", format="WAV")
    return file.getvalue()
