"""Voice conversion with WORLD: the same words at the same time in another voice [P 2.3]."""

import functools
import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Range = tuple[float, float]

WORLD_RATE = 16_000
FRAME_MS = 5.0  # at 10 ms an identity conversion loses more: 3.0 dB of the log-mel instead of 2.7
F0_BOUNDS = (40.0, 800.0)  # Hz; the range of human pitch, within WORLD's own bounds
STRAIGHT = 0.8  # up to this part of the band, in the source and in the result, the warp is a constant factor
QUIET = 1e-7  # root mean square of silence: the step of 16 bits is 3e-5


@dataclass(frozen=True, slots=True)
class Voice:
    """The properties of a speaker that are changed: the pitch and the length of the vocal tract.

    Attributes:
        log_f0: Mean of the natural logarithm of F0 in Hz, over voiced frames.
        deviation: Standard deviation of the same.
        warp: The factor of the envelope's frequencies, formants included, relative to the source.

    Raises:
        ValueError: If the mean pitch is not from 40 to 800 Hz, the deviation negative, or the warp not from 0.5 to 2.
    """

    log_f0: float
    deviation: float
    warp: float = 1.0

    def __post_init__(self) -> None:
        low, high = map(math.log, F0_BOUNDS)
        if not (low <= self.log_f0 <= high and 0 <= self.deviation < math.inf and 0.5 <= self.warp <= 2):
            allowed = f"log_f0 is from {low:.2f} to {high:.2f}, deviation at least 0, warp from 0.5 to 2"
            raise ValueError(f"{self}: {allowed}")


@dataclass(frozen=True, slots=True, eq=False)
class WorldFeatures:
    """The WORLD features of a wave, in frames of 5 ms, the first one centred on the first sample.

    Attributes:
        f0: float64 `[frames]`, Hz, 0 where unvoiced.
        log_envelope: float64 `[frames, bins]`, natural logarithm of the spectral envelope's power; of a
            wave beyond full scale, that of the wave scaled to full scale.
        aperiodicity: float64 `[frames, bins]`, 0 periodic to 1 noise.
        samples: Length of the wave.
        level: Root mean square of the wave.
        sample_rate: Hz.
    """

    f0: NDArray[np.float64]
    log_envelope: NDArray[np.float64]
    aperiodicity: NDArray[np.float64]
    samples: int
    level: float
    sample_rate: int


def analyse(
    wave: NDArray[np.floating[Any]], sample_rate: int = WORLD_RATE, f0_method: Literal["dio", "harvest"] = "dio"
) -> WorldFeatures:
    """Decompose a wave into pitch, spectral envelope and aperiodicity (CheapTrick and D4C).

    Args:
        wave: float `[samples]`, full scale is 1.
        sample_rate: Hz, at least 16,000; `VoiceConverter` resamples others.
        f0_method: DIO refined by StoneMask, or Harvest, which takes 30 times as long and is more reliable in noise.

    Raises:
        ValueError: If the wave is empty, of another shape or type, or not finite, the rate too low, or the result not
            finite.

    Example:
        >>> features = analyse(np.sin(2 * np.pi * 200 * np.arange(8000) / 16000))
        >>> features.f0.shape, round(float(np.median(features.f0)))
        ((101,), 200)
    """
    _check_wave(wave)
    if sample_rate < WORLD_RATE:
        raise ValueError(f"WORLD needs at least {WORLD_RATE} Hz, not {sample_rate}: VoiceConverter resamples")
    world = _world()
    x = np.ascontiguousarray(wave, np.float64)
    gain = max(1.0, float(np.abs(x).max()))  # D4C is exact enough only within full scale
    x = x / gain  # `level` has it back
    if f0_method == "harvest":
        f0, times = world.harvest(x, sample_rate, frame_period=FRAME_MS)
    else:
        f0, times = world.dio(x, sample_rate, frame_period=FRAME_MS)
        f0 = world.stonemask(x, f0, times, sample_rate)
    envelope = world.cheaptrick(x, f0, times, sample_rate)
    aperiodicity = world.d4c(x, f0, times, sample_rate)
    level = gain * float(np.sqrt(np.mean(np.square(x))))
    log_envelope = np.log(envelope, out=envelope)
    if not (np.isfinite(log_envelope).all() and np.isfinite(aperiodicity).all()):
        raise ValueError("WORLD cannot analyse the wave: its features are not finite")
    return WorldFeatures(f0, log_envelope, aperiodicity, len(x), level, sample_rate)


def voice_of(*utterances: WorldFeatures) -> Voice:
    """The pitch of a speaker, over the voiced frames of all given utterances, without a warp.

    Raises:
        ValueError: If no frame is voiced.
    """
    log_f0 = np.log(np.concatenate([features.f0[features.f0 > 0] for features in utterances]))
    if not len(log_f0):
        raise ValueError("no frame is voiced: a voice cannot be estimated from silence or noise")
    return Voice(float(log_f0.mean()), float(log_f0.std()))


def convert(features: WorldFeatures, voice: Voice) -> NDArray[np.float32]:
    """Synthesise an analysed wave in another voice, with its timing.

    The voiced log F0 is scaled to the voice's mean and deviation. Log envelope and aperiodicity are warped along
    frequency: by a constant factor until source or result reaches 0.8 of the band, then linearly to its end.

    Returns:
        float32 `[samples]`, with the length and the level of the analysed wave; the level is lower if a sample would
        exceed full scale.

    Raises:
        ValueError: If the result is not finite.

    Example:
        >>> features = analyse(np.sin(2 * np.pi * 200 * np.arange(8000) / 16000))
        >>> converted = convert(features, Voice(log_f0=np.log(250.0), deviation=0.0, warp=1.1))
        >>> converted.shape, round(float(np.median(analyse(converted).f0)))
        ((8000,), 250)
    """
    f0 = _move_f0(features.f0, voice)
    envelope, aperiodicity = features.log_envelope, features.aperiodicity
    if voice.warp != 1:
        envelope, aperiodicity = _warp(envelope, voice.warp), _warp(aperiodicity, voice.warp)
    wave: NDArray[np.float64] = _world().synthesize(f0, np.exp(envelope), aperiodicity, features.sample_rate, FRAME_MS)
    if not np.isfinite(wave).all():
        raise ValueError("WORLD cannot synthesise the wave: its samples are not finite")
    wave = np.pad(wave[: features.samples], (0, max(0, features.samples - len(wave))))
    return _levelled(wave, features.level).astype(np.float32)


def _move_f0(f0: NDArray[np.float64], voice: Voice) -> NDArray[np.float64]:
    voiced = f0 > 0
    moved = np.zeros_like(f0)
    if voiced.any():
        log_f0 = np.log(f0[voiced])
        scale = voice.deviation / max(float(log_f0.std()), 1e-3)  # a monotone stays monotone
        moved[voiced] = np.exp(voice.log_f0 + (log_f0 - log_f0.mean()) * scale).clip(*F0_BOUNDS)
    return moved


def _warp(spectra: NDArray[np.float64], warp: float) -> NDArray[np.float64]:
    """Move frequency f of `[frames, bins]` to `warp * f`."""
    low, part = _warp_table(spectra.shape[1], warp)
    left = np.take(spectra, low, axis=1)  # unlike [:, low], in the memory order that WORLD requires
    right = np.take(spectra, low + 1, axis=1)
    right -= left
    right *= part
    left += right
    return left


@functools.lru_cache(maxsize=64)
def _warp_table(bins: int, warp: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The source of each bin of the result: the bin below, and the fraction of the way to the next one."""
    knee = STRAIGHT * min(1.0, 1 / warp)
    result = np.linspace(0, 1, bins)
    source = np.interp(result, [0, knee * warp, 1], [0, knee, 1]) * (bins - 1)
    low = np.minimum(source.astype(np.intp), bins - 2)
    return low, source - low


def _levelled(wave: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """The wave scaled to a root mean square, or lower if a sample would exceed full scale."""
    found = float(np.sqrt(np.mean(np.square(wave))))
    if level < QUIET or found < QUIET:
        return np.zeros_like(wave)
    gain: float = min(level / found, 1 / float(np.abs(wave).max()))
    return wave * gain


@dataclass(frozen=True, slots=True)
class VoiceConverter:
    """A wave in other voices, each a function of a seed: WORLD at 16 kHz, analysed once, synthesised once per voice.

    Attributes:
        sample_rate: Rate of input and output, 8,000 to 48,000 Hz. Rates other than 16,000 are resampled there and back,
            which removes frequencies above 8,000 Hz.
        f0: Range of a voice's mean F0, in Hz.
        deviation: Range of the standard deviation of its log F0.
        warp: Range of the factor by which formants are raised, or as often lowered.
        f0_method: See `analyse`.

    Raises:
        ValueError: If a range is empty or out of human bounds, or the rate is out of bounds.

    Example:
        >>> converter = VoiceConverter(sample_rate=8000)
        >>> wave = np.sin(2 * np.pi * 200 * np.arange(4000) / 8000).astype(np.float32)
        >>> converter(wave, seeds=[1, 2, 3]).shape
        (3, 4000)
    """

    sample_rate: int = WORLD_RATE
    f0: Range = (85.0, 255.0)
    deviation: Range = (0.1, 0.25)
    warp: Range = (1.12, 1.25)
    f0_method: Literal["dio", "harvest"] = "dio"

    def __post_init__(self) -> None:
        if not 8_000 <= self.sample_rate <= 48_000:
            raise ValueError(f"VoiceConverter: sample_rate is {self.sample_rate} Hz, not from 8,000 to 48,000")
        for name, (low, high), (minimum, maximum) in (
            ("f0", self.f0, F0_BOUNDS),
            ("deviation", self.deviation, (0.0, 1.0)),
            ("warp", self.warp, (1.0, 2.0)),
        ):
            if not minimum <= low <= high <= maximum:
                allowed = f"not a range within {minimum} to {maximum}"
                raise ValueError(f"VoiceConverter: {name} is {low} to {high}: {allowed}")

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that decides the voices and their sound, for the manifest of a data set."""
        return {**asdict(self), "pyworld": version("pyworld")}

    def draw(self, seed: int) -> Voice:
        """The voice of a seed, at least 0: mean F0 and warp are drawn independently on a logarithmic scale."""
        a, b, c, sign = np.random.default_rng(seed).random(4)
        log_warp = _between(c, math.log(self.warp[0]), math.log(self.warp[1]))
        return Voice(
            log_f0=_between(a, math.log(self.f0[0]), math.log(self.f0[1])),
            deviation=_between(b, *self.deviation),
            warp=math.exp(log_warp if sign < 0.5 else -log_warp),
        )

    def __call__(self, wave: NDArray[np.floating[Any]], seeds: Sequence[int]) -> NDArray[np.float32]:
        """Convert a wave to the voices of seeds.

        Args:
            wave: float `[samples]`, full scale is 1.
            seeds: K seeds, each at least 0.

        Returns:
            float32 `[K, samples]`, with the length, timing and level of the wave.

        Raises:
            ValueError: As `analyse`.
        """
        _check_wave(wave)
        wave = np.asarray(wave, np.float32)
        features = analyse(_resample(wave, self.sample_rate, WORLD_RATE), WORLD_RATE, self.f0_method)
        voices = np.zeros((len(seeds), len(wave)), np.float32)
        for row, seed in zip(voices, seeds, strict=True):
            voice = _resample(convert(features, self.draw(seed)), WORLD_RATE, self.sample_rate)[: len(wave)]
            row[: len(voice)] = voice.clip(-1, 1)  # resampling can overshoot
        return voices


def _between(u: float, low: float, high: float) -> float:
    return low + (high - low) * float(u)


def _check_wave(wave: NDArray[np.floating[Any]]) -> None:
    if not np.issubdtype(wave.dtype, np.floating) or wave.ndim != 1 or not len(wave):
        raise ValueError(f"the wave is {wave.dtype} {list(wave.shape)}, not float [samples], at least one")
    if not np.isfinite(wave).all():
        raise ValueError("the wave has values that are not finite")


def _resample(wave: NDArray[Any], rate: int, to: int) -> NDArray[Any]:
    import soxr

    resampled: NDArray[Any] = wave if rate == to else soxr.resample(wave, rate, to)
    return resampled if len(resampled) else np.zeros(1, wave.dtype)


@functools.cache
def _world() -> ModuleType:
    """Load pyworld on first use: video does not need WORLD."""
    with warnings.catch_warnings():
        # it imports pkg_resources, which warns at every start of every process
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
        import pyworld
    module: ModuleType = pyworld
    return module
