from pathlib import Path
from threading import Event
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile
import torch
from toy_files import write_sound

from seqviews.pipeline.features import MelParameters
from seqviews.pipeline.sources.audio import SegmentCutter, log_mel, read_wave, unstated_seconds
from seqviews.pipeline.sources.windows import Window

CUTTER = SegmentCutter(Window(20, 20))


def torch_log_mel(wave: np.ndarray, n_mels: int) -> np.ndarray:
    samples, window = torch.from_numpy(wave).double(), torch.hann_window(400, dtype=torch.float64)
    spectrum = torch.stft(samples, 512, 160, 400, window, center=True, pad_mode="reflect", return_complex=True)
    filters = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=n_mels, fmin=0, fmax=8000, htk=False, norm="slaney")
    power = torch.from_numpy(filters).double() @ spectrum.abs().square()
    return power.clamp(min=1e-10).log().T.numpy()


@pytest.mark.parametrize("samples", [512, 513, 15_999, 16_000, 16_159])
@pytest.mark.parametrize("n_mels", [40, 80])
def test_equals_torchs_transform_with_the_same_filters(samples: int, n_mels: int) -> None:
    wave = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    features = log_mel(wave, MelParameters(n_mels=n_mels))
    assert (features.shape, features.dtype.name) == ((1 + samples // 160, n_mels), "float32")
    assert features.flags.c_contiguous
    np.testing.assert_allclose(features, torch_log_mel(wave, n_mels), atol=1e-3)


def test_invalid_waves() -> None:
    waves: list[tuple[np.ndarray, str]] = [
        (np.zeros(511, np.float32), "511 samples, fewer than the 512"),
        (np.zeros(800, np.float64), "float64"),
        (np.zeros((800, 2), np.float32), r"\[800, 2\]"),
        (np.full(800, np.nan, np.float32), "not finite"),
    ]
    for wave, message in waves:
        with pytest.raises(ValueError, match=message):
            log_mel(wave)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_reads_16_bits_in_full(tmp_path: Path, suffix: str) -> None:
    values = np.array([0, 1, -1, 32767, -32768, 12345], np.int16)
    soundfile.write(tmp_path / f"x.{suffix}", values, 16_000)
    np.testing.assert_array_equal(read_wave(tmp_path / f"x.{suffix}"), values.astype(np.float32) / 32768)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_resamples_and_mixes_down(tmp_path: Path, rate: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    soundfile.write(tmp_path / "x.wav", np.stack([tone, np.zeros_like(tone)], axis=1), rate, subtype="FLOAT")
    wave = read_wave(tmp_path / "x.wav")
    expected = 0.25 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert (wave.dtype.name, len(wave)) == ("float32", 16_000)
    np.testing.assert_allclose(wave[500:-500], expected[500:-500], atol=2e-3)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 16_000, subtype="FLOAT")
    for suffix in ("wav", "flac"):
        whole = write_sound(tmp_path / f"whole.{suffix}", 1.0).read_bytes()
        (tmp_path / f"half.{suffix}").write_bytes(whole[: len(whole) // 2])
    for name, message in [
        ("text.wav", "cannot be read as sound"),
        ("missing.wav", "cannot be read as sound"),
        ("empty.wav", "has no samples"),
        ("nan.wav", "not finite"),
        ("half.wav", "is truncated"),
        ("half.flac", ""),
    ]:
        with pytest.raises(ValueError, match=rf"{name} .*{message}"):
            read_wave(tmp_path / name)


def test_a_wav_written_to_a_pipe_does_not_state_its_length(tmp_path: Path) -> None:
    data = bytearray(write_sound(tmp_path / "x.wav", 1.0).read_bytes())
    whole = read_wave(tmp_path / "x.wav")
    assert data[36:40] == b"data"
    data[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "x.wav").write_bytes(data)
    np.testing.assert_array_equal(read_wave(tmp_path / "x.wav"), whole)


def test_mean_and_deviation_are_those_of_the_training_segments(tmp_path: Path) -> None:
    rng = np.random.default_rng()
    paths = [write_sound(tmp_path / f"{i}.wav", 0.5 + i / 7, seed=i, gain=0.1 * i) for i in range(4)]
    surveys = [CUTTER.survey(path, Event()) for path in paths]
    features = CUTTER.features(surveys, surveys[:3])
    used = np.concatenate([r.mel for path in paths[:3] for r in CUTTER.records(path, "{}", rng)]).astype(np.float64)
    assert features.mel is not None
    np.testing.assert_allclose(features.mel.mean, used.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(features.mel.std, used.std(axis=0), rtol=1e-9)
    assert (features.shape, features.rate) == ((20, 80), 100.0)
    silent = CUTTER.features(surveys[:1], surveys[:1]).mel  # the first one has no gain
    assert silent is not None
    np.testing.assert_allclose(silent.mean, np.log(1e-10), rtol=1e-6)
    np.testing.assert_allclose(silent.std, 0, atol=1e-5)
    assert len(list(CUTTER.records(paths[0], "{}", rng))) == 2
    short, cutter = write_sound(tmp_path / "short.wav", 0.03), SegmentCutter(Window(2, 2))  # than a transform
    assert (cutter.survey(short, Event()).frames, list(cutter.records(short, "{}", rng))) == (0, [])


@pytest.mark.parametrize("options", [{"voices": 2}, {"voices": -1}, {"mel": MelParameters(n_mels=0)}])
def test_a_segment_cutter_out_of_bounds(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"need a converter|1 to 128 mels, 0 to 1000 voices"):
        SegmentCutter(Window(20, 20), **options)


def restated(path: Path, samples: int) -> None:
    """Change the number of samples that a FLAC file of 16 kHz, or a WAV file of 16 bits, states."""
    data = bytearray(path.read_bytes())
    if path.suffix == ".flac":
        data[21:26] = ((data[21] & 0xF0) << 32 | samples).to_bytes(5, "big")
    else:
        data[40:44] = (2 * samples).to_bytes(4, "little")
    path.write_bytes(data)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("seconds", [0.5, 4.096, 5])
def test_a_header_that_states_less_sound_or_more_than_there_is(tmp_path: Path, suffix: str, seconds: float) -> None:
    path = write_sound(tmp_path / f"x.{suffix}", seconds)
    whole, samples = read_wave(path), round(16_000 * seconds)
    assert unstated_seconds(path) == 0
    for stated in (samples - 1, samples // 2, 600):
        restated(path, stated)
        np.testing.assert_array_equal(read_wave(path), whole[:stated])
        assert unstated_seconds(path) == pytest.approx((samples - stated) / 16_000)
    assert CUTTER.survey(path, Event()).remark.startswith(f"{seconds - 0.0375:.2f} s of sound after the end")
    restated(path, samples + 1)
    with pytest.raises(ValueError, match=rf"x\.{suffix} is truncated: its header states"):
        read_wave(path)


def test_chunks_after_the_sound_are_no_sound(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "x.wav", 1.0)
    tags = b"LIST\x1a\0\0\0INFOISFT\x0e\0\0\0Lavf58.29.100\0" + b"id3 \x03\0\0\0xyz\0" + b"_PMX\x02\0\0\0ab"
    path.write_bytes(path.read_bytes() + tags)
    assert unstated_seconds(path) == 0


@pytest.mark.parametrize("seconds", [0.5, 4.096, 5])
def test_a_flac_written_to_a_pipe_does_not_state_its_length(tmp_path: Path, seconds: float) -> None:
    path = write_sound(tmp_path / "x.flac", seconds)
    whole = read_wave(path)
    restated(path, 0)
    np.testing.assert_array_equal(read_wave(path), whole)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"x\.flac cannot be read as sound"):
        read_wave(path)


@pytest.mark.parametrize("subtype", ["GSM610", "G721_32", "NMS_ADPCM_32", "MS_ADPCM", "IMA_ADPCM"])
def test_wav_files_in_blocks_of_samples_are_read_to_their_end(tmp_path: Path, subtype: str) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(80_000) / 16_000)
    soundfile.write(tmp_path / "x.wav", tone, 16_000, subtype=subtype)
    wave = read_wave(tmp_path / "x.wav")
    assert 80_000 <= len(wave) < 82_100
    np.testing.assert_allclose(wave[1000:80_000], tone[1000:], atol=0.2)
