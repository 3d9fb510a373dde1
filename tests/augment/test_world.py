"""Voice conversion measured independently: Harvest for pitch, linear prediction for formants, log-mels for timing."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from seqviews.augment.world import Voice, VoiceConverter, _warp, analyse, convert, voice_of
from seqviews.pipeline.sources.audio import log_mel

RATE = 16_000
Wave = NDArray[np.float32]
VOWELS = {"a": (730, 1090, 2440), "i": (300, 2300, 3000), "u": (320, 900, 2250)}


def vowel(name: str, f0: float = 140, seconds: float = 0.8, rate: int = RATE, vibrato: float = 0.1) -> Wave:
    """Harmonics with vibrato under three resonances 80 Hz wide, at the level of speech."""
    t = np.arange(round(seconds * rate)) / rate
    pitch = f0 * np.exp(vibrato * np.sin(2 * np.pi * 3 * t))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    wave = np.zeros(len(t))
    for k in range(1, int(0.5 * rate / pitch.max())):
        gains = [1 / np.abs(1 - (k * pitch / f) ** 2 + 80j * k * pitch / f**2) for f in VOWELS[name]]
        wave += np.prod(gains, axis=0) * np.sin(k * phase)
    return np.asarray(0.1 * wave / wave.std(), np.float32)


def formants(wave: Wave) -> NDArray[np.float64]:
    """The first three resonances of linear prediction, Hz."""
    middle = wave[len(wave) // 4 : -len(wave) // 4].astype(np.float64)
    roots = np.roots(librosa.lpc(middle * np.hanning(len(middle)), order=12))
    roots = roots[(roots.imag > 0) & (np.abs(roots) > 0.93)]
    return np.sort(np.angle(roots) * RATE / 2 / np.pi)[:3]


def harvest(wave: Wave, rate: int = RATE) -> NDArray[np.float64]:
    """The voiced F0 by another method than the default."""
    f0 = analyse(wave, rate, "harvest").f0
    return f0[f0 > 0]


def lag(first: Wave, second: Wave) -> int:
    """The delay of the second wave's loudness, in frames of 10 ms."""
    a, b = (np.exp(log_mel(wave)).sum(axis=1) ** 0.3 for wave in (first, second))
    return int(np.argmax([np.corrcoef(a[5:-5], b[5 + k : len(b) - 5 + k])[0, 1] for k in range(-5, 6)])) - 5


@pytest.mark.parametrize(("ratio", "deviation"), [(0.7, 0.1), (1.0, 0.0), (1.0, 0.05), (1.5, 0.15), (2.0, 0.1)])
def test_mean_and_deviation_of_the_pitch_are_those_of_the_voice(ratio: float, deviation: float) -> None:
    wave = vowel("a")
    features = analyse(wave)
    log_f0 = voice_of(features).log_f0 + math.log(ratio)
    pitch = harvest(convert(features, Voice(log_f0, deviation)))
    assert np.median(pitch) / np.median(harvest(wave)) == pytest.approx(ratio, rel=0.03)
    assert np.log(pitch[10:-10]).std() == pytest.approx(deviation, abs=0.01)


@pytest.mark.parametrize("name", VOWELS)
@pytest.mark.parametrize("warp", [0.8, 0.9, 1.12, 1.25])
def test_formants_move_by_the_warp(name: str, warp: float) -> None:
    wave = vowel(name, f0=90)
    np.testing.assert_allclose(formants(wave), VOWELS[name], rtol=0.05)
    features = analyse(wave)
    other = convert(features, replace(voice_of(features), warp=warp))
    np.testing.assert_allclose(formants(other), warp * formants(wave), rtol=0.05)


def test_the_warp_is_constant_up_to_0_8_of_the_band_and_keeps_its_ends() -> None:
    bins = np.arange(513)
    for warp in (0.8, 1.25):
        # an envelope that equals its frequency shows the source of each bin
        source = _warp(bins[None].astype(np.float64), warp)[0]
        straight = bins < 0.8 * 512 * min(1, warp) - 1
        np.testing.assert_allclose(source[straight], bins[straight] / warp, atol=1e-9)
        assert source[0] == 0
        assert source[-1] == pytest.approx(512)
        assert (np.diff(source) > 0).all()


def test_timing_length_and_level_do_not_change_and_nothing_is_clipped() -> None:
    parts = [vowel("a", seconds=0.3), np.zeros(1700, np.float32), vowel("i", f0=130, seconds=0.2003)]
    wave = np.concatenate(parts)
    for other in VoiceConverter()(wave, seeds=range(4)):
        assert other.shape == wave.shape
        assert other.dtype == np.float32
        assert lag(wave, other) == 0
        assert other.std() == pytest.approx(wave.std(), rel=0.01)
    loud = vowel("a", vibrato=0.0)
    for other in VoiceConverter()(loud / np.abs(loud).max(), seeds=range(8)):
        assert 0.1 < np.abs(other).max() <= 1
        assert (np.abs(other) >= 0.999).sum() <= 10  # clipping would flatten the peak of each of 112 periods


@pytest.mark.parametrize("samples", [1, 2, 79, 80, 81, 480])
@pytest.mark.parametrize("kind", ["silence", "noise", "constant", "vowel"])
def test_short_and_silent_sounds_keep_their_length_and_are_finite(samples: int, kind: str) -> None:
    wave = {
        "silence": np.zeros(samples),
        "noise": np.random.default_rng(0).normal(0, 0.1, samples),
        "constant": np.full(samples, 0.5),
        "vowel": vowel("a")[1000 : 1000 + samples],
    }[kind]
    for rate in (8000, 16_000, 44_100):
        others = VoiceConverter(rate)(wave.astype(np.float32), seeds=[1, 2])
        assert others.shape == (2, samples)
        assert np.isfinite(others).all()
        assert kind != "silence" or not others.any()


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_other_rates_go_through_the_same_conversion(rate: int) -> None:
    wave = vowel("a", rate=rate, seconds=1.0003)
    wave[: rate // 3] = wave[-rate // 4 :] = 0  # so that timing can be measured
    converter = VoiceConverter(rate, f0=(180, 180), deviation=(0.05, 0.05))
    (other,) = converter(wave, seeds=[1])
    assert other.shape == wave.shape
    at_16k = [librosa.resample(w, orig_sr=rate, target_sr=RATE, res_type="soxr_hq") for w in (wave, other)]
    assert np.median(harvest(at_16k[1])) == pytest.approx(180, rel=0.03)
    assert lag(at_16k[0], at_16k[1]) == 0


def test_voices_and_conversions_are_functions_of_their_seed_within_human_bounds() -> None:
    converter = VoiceConverter()
    voices = [converter.draw(seed) for seed in range(400)]
    assert voices == [VoiceConverter().draw(seed) for seed in range(400)]
    assert len(set(voices)) == 400
    f0 = np.exp([voice.log_f0 for voice in voices])
    assert 85 <= f0.min() < 90
    assert 245 < f0.max() <= 255
    warps = np.log([voice.warp for voice in voices])
    low, high = map(math.log, converter.warp)
    assert ((low - 1e-9 <= np.abs(warps)) & (np.abs(warps) <= high + 1e-9)).all()
    assert 150 < (warps > 0).sum() < 250
    assert abs(np.corrcoef(f0, np.exp(warps))[0, 1]) < 0.15
    wave = vowel("u", seconds=0.3)
    three = converter(wave, seeds=[5, 6, 7])
    np.testing.assert_array_equal(converter(wave, seeds=[7])[0], three[2])
    assert not np.allclose(three[0], three[1], atol=0.01)


def test_the_voice_of_a_speaker_is_that_of_all_their_frames() -> None:
    low, high = (analyse(vowel("a", f0, vibrato=0.0)) for f0 in (100.0, 144.0))
    voice = voice_of(low, high)
    assert math.exp(voice.log_f0) == pytest.approx(120, rel=0.02)
    assert voice.deviation == pytest.approx(math.log(1.2), rel=0.05)
    assert voice.warp == 1
    with pytest.raises(ValueError, match="no frame is voiced"):
        voice_of(analyse(np.zeros(8000)))


@pytest.mark.parametrize("gain", [1, 2, 4, 1e4, 1e30])
@pytest.mark.parametrize("f0", [80, 100, 150, 200])
def test_waves_beyond_full_scale_are_converted_as_the_wave_within_it(gain: float, f0: int) -> None:
    wave = np.sin(2 * np.pi * f0 * np.arange(8000) / RATE)
    within, beyond = (VoiceConverter()((g * wave).astype(np.float32), [1, 2]) for g in (0.999, gain))
    assert np.isfinite(beyond).all()
    assert np.abs(beyond).max() <= 1
    loud = analyse(gain * wave)
    assert loud.level == pytest.approx(gain * analyse(wave).level)
    for a, b in zip(within, beyond, strict=True):
        assert np.corrcoef(a, b)[0, 1] > 0.9


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_result_that_is_not_finite_is_an_error() -> None:
    features = analyse(vowel("a"))
    features.log_envelope[50] = 1e3
    with pytest.raises(ValueError, match="cannot synthesise the wave"):
        convert(features, Voice(5.0, 0.1))


@pytest.mark.parametrize("wave", [np.zeros(0), np.zeros((2, 80)), np.zeros(800, np.int16), np.full(800, np.nan)])
def test_invalid_waves(wave: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="the wave"):
        analyse(wave)
    with pytest.raises(ValueError, match="the wave"):
        VoiceConverter()(wave, seeds=[1])


def test_invalid_ranges() -> None:
    for make, message in (
        (lambda: VoiceConverter(4000), "sample_rate is 4000"),
        (lambda: analyse(np.zeros(800), 8000), "at least 16000 Hz"),
        (lambda: VoiceConverter(f0=(20.0, 100.0)), r"f0 is 20\.0 to 100\.0: not a range within 40"),
        (lambda: VoiceConverter(warp=(1.2, 1.1)), r"warp is 1\.2 to 1\.1"),
        (lambda: Voice(5.0, 0.1, 3.0), "warp from"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def utterances(shared_data: Path, seconds: float) -> list[tuple[str, Wave]]:
    """The beginnings of ten recordings of each of six speakers."""
    files = sorted((shared_data / "librispeech-subset" / "test").glob("*/*.flac"))
    found = [(path.parent.name, soundfile.read(path, dtype="float32")[0]) for path in files]
    return [(speaker, wave[: round(seconds * RATE)]) for speaker, wave in found]


def test_speech_in_its_own_voice_hardly_changes(shared_data: Path) -> None:
    distance, agreement = [], []
    for _, wave in utterances(shared_data, 2.0)[::5]:
        features = analyse(wave)
        other = convert(features, voice_of(features))
        voiced = features.f0[: 2 * (len(wave) // 160) + 1 : 2] > 0
        decibels = np.abs(log_mel(wave) - log_mel(other))[: len(voiced)][voiced] * 10 / math.log(10)
        distance.append(decibels.mean())
        agreement.append(((analyse(other).f0 > 0) == (features.f0 > 0)).mean())
        assert lag(wave, other) == 0
    assert np.median(distance) < 3
    assert np.median(agreement) > 0.9


@pytest.mark.slow
def test_other_voices_hide_the_speaker_and_keep_the_words(shared_data: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    spoken = utterances(shared_data, 4.0)
    converter = VoiceConverter()
    others = [converter(wave, seeds=[i])[0] for i, (_, wave) in enumerate(spoken)]
    mfcc = partial(librosa.feature.mfcc, sr=RATE, n_mfcc=20, hop_length=160, n_fft=512)
    mfccs, converted = ([mfcc(y=wave) for wave in waves] for waves in ([wave for _, wave in spoken], others))
    rows = [(i, s) for i, mfcc in enumerate(mfccs) for s in range(mfcc.shape[1] // 100)]  # whole seconds
    x, y = (np.stack([m[i][:, 100 * s : 100 * s + 100].mean(axis=1) for i, s in rows]) for m in (mfccs, converted))
    names = np.array([spoken[i][0] for i, _ in rows])
    train = np.array([i % 10 < 7 for i, _ in rows])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(x[train], names[train])
    assert classifier.score(x[~train], names[~train]) > 0.9
    assert classifier.score(y[~train], names[~train]) < 0.5 * classifier.score(x[~train], names[~train])
    nearest = [np.argmin([_distance(converted[i], mfcc) for mfcc in mfccs]) == i for i in range(len(spoken))]
    assert np.mean(nearest) >= 0.95


def _distance(a: Wave, b: Wave) -> float:
    """Distance by dynamic time warping of two and a half seconds, normalised to mean 0 and deviation 1."""
    a, b = (m[1:14, :250] for m in (a, b))
    a, b = ((m - m.mean(axis=1, keepdims=True)) / m.std(axis=1, keepdims=True) for m in (a, b))
    return float(librosa.sequence.dtw(a, b)[0][-1, -1])
