"""The protocol for clips: what is decoded or drawn, what it should show, and how a judge scores it [P 4.2]."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias, cast

import torch
from torch import Tensor

from seqviews.model.evaluate.clips.identity import colour_error, identity_error
from seqviews.model.evaluate.clips.metrics import factor_scores, foreground_psnr
from seqviews.model.evaluate.clips.order import IN_ORDER, held, order_scores, shuffled
from seqviews.model.evaluate.encode import REPORT_EVERY, Encoded, collect, encode, no_progress, samples
from seqviews.model.protocol import Autoencoder, Method, Posterior, Sampler, missing_capabilities, require
from seqviews.model.scaling import Scale
from seqviews.pipeline.manifest import DatasetInfo
from seqviews.pipeline.records import Batch, Progress

if TYPE_CHECKING:
    from seqviews.pipeline.stream.stream import SequenceStream

DRAWS, SAMPLES = 5, 64  # draws a clip; clips that a generator samples at a time, whatever the batch size
SETTINGS = {
    "real": "real clips",
    "held": "real clips, a random frame of each in place of all",
    "shuffled": "real clips with shuffled frames",
    "reconstruction": "s and z of the same clip",
    "swap": "s of one clip, z of another",
    "static_drawn": "s drawn from its prior, z of a clip",
    "dynamic_drawn": "z drawn from its prior, s of a clip",
    "sampled": "clips sampled by the generator",
    "static_redrawn": "s drawn twice for a z from its prior, by a generator; truth is what the first clip shows",
    "dynamic_redrawn": "z drawn twice for an s from its prior, likewise",
}
REQUIRED = {
    **dict.fromkeys(("reconstruction", "swap"), ("encode", "decode")),
    "static_drawn": ("encode", "decode", "sample_static"),
    "dynamic_drawn": ("encode", "decode", "sample_dynamic"),
    "sampled": ("sample",),
    **dict.fromkeys(("static_redrawn", "dynamic_redrawn"), ("decode", "sample_static", "sample_dynamic")),
}
"""The capabilities that each setting of a method requires; to redraw is for methods without encode."""
OF_REAL_CLIPS = tuple(name for name in SETTINGS if name not in REQUIRED)
PURPOSES = dict.fromkeys(("encode", "decode"), "reconstructions and swaps")
PURPOSES |= {"sample_static": "draws of s", "sample_dynamic": "draws of z"}
"""What is left out without a capability."""
PSNR, JUDGED, COLOUR = "reconstruction/foreground_psnr", "judged/", "mean_colour"  # no factor has such a name

Predict: TypeAlias = Callable[[Tensor], Mapping[str, Tensor]]
"""Predicts from clips `[B, T, C, H, W]`, by factor, class probabilities `[B, K]` or trajectories `[B, T, n, 2]`.

If it can, also by `IN_ORDER` the probability `[B]` that their frames are in order."""
Results: TypeAlias = dict[str, tuple[dict[str, Tensor], dict[str, Tensor]]]
"""By setting, the predictions of a judge and what the clips should show."""


def possible_settings(method: Method) -> list[str]:
    """The settings of `REQUIRED` that a method has the capabilities for.

    Raises:
        ValueError: If there is none; the message names what the method lacks.
    """
    encodes = not missing_capabilities(method, "encode")
    settings = [
        setting
        for setting, names in REQUIRED.items()
        if not missing_capabilities(method, *names) and not (encodes and setting.endswith("redrawn"))
    ]
    if not settings:
        require(method, "encode", "decode", purpose=PURPOSES["encode"])
    return settings


def judge_real_clips(
    method: Method,
    judge: Predict,
    stream: SequenceStream,
    scale: Scale,
    device: torch.device | str = "cpu",
    *,
    seed: int = 0,
    maximum: int | None = None,
    progress: Progress = no_progress,
) -> Encoded:
    """Judge the clips of a split and, if the method can, encode and reconstruct them, in one pass.

    `judge` is `Judge.predict`, and `seed` decides the samples; the other arguments are those of `encode`, the stream
    with every factor.

    Returns:
        The clips. Their values are the predictions of the judge in each setting of real clips,
        `judged/SETTING/FACTOR`, the mean colour `COLOUR`, `[N, C]`, and if the method can encode and decode, the
        latents, a sample of each and `PSNR`, `metrics.foreground_psnr` of the reconstructions, `[N]`.

    Raises:
        ValueError: If there are fewer than two, which cannot be swapped.
    """
    autoencoder, generator = cast(Autoencoder, method), torch.Generator(device).manual_seed(seed)
    moments = torch.Generator().manual_seed(seed)

    def predict(x: Tensor) -> dict[str, Tensor]:
        shown = {"real": x, "held": held(x, moments), "shuffled": shuffled(x, moments)}
        judged = {f"{JUDGED}{setting}/{name}": v for setting, c in shown.items() for name, v in judge(c).items()}
        return {COLOUR: x.mean((1, 3, 4)), **judged}

    def keep(x: Tensor, posterior: Posterior, batch: Batch) -> dict[str, Tensor]:
        decoded = autoencoder.decode(posterior.static.mean, posterior.dynamic.mean)
        return {**predict(x), **samples(posterior, generator), PSNR: foreground_psnr(decoded, x)}

    if missing_capabilities(method, "encode", "decode"):
        clips = collect(stream, lambda batch: predict(scale(batch.x.to(device))), maximum, progress)
    else:
        clips = encode(autoencoder, stream, scale, device, keep=keep, maximum=maximum, progress=progress)
    if len(clips) < 2:
        raise ValueError(f"there are {len(clips)} clips to evaluate, and a swap requires two: prepare more clips")
    return clips


def partners(count: int, generator: torch.Generator) -> Tensor:
    """Another clip for each of `count` clips, at random: int64 `[count]`, a permutation without fixed points."""
    ring = torch.randperm(count, generator=generator)
    partner = torch.empty_like(ring)
    partner[ring] = ring.roll(1)
    return partner


@torch.inference_mode()
def score(
    method: Method,
    judge: Predict,
    clips: Encoded,
    info: DatasetInfo,
    device: torch.device | str = "cpu",
    *,
    seed: int = 0,
    batch_size: int = 128,
    identities: Mapping[str, Tensor] = MappingProxyType({}),
    progress: Progress = no_progress,
) -> dict[str, float]:
    """Every metric in every possible setting, keyed `setting/factor/metric`, and `PSNR` in dB.

    Settings are those of `SETTINGS`, metrics those of `metrics.factor_scores` and, where the judge predicts `IN_ORDER`,
    those of `order_scores`. The static factors of a clip should be
    those of the clip that its s is from, the dynamic factors those of the clip that its z is from; factors of a latent
    that is drawn have no truth. Every latent is drawn, and every clip sampled, `DRAWS` times for each real clip. Where
    a generator redraws a latent, the truth is what the judge reads from the first clip. The PSNR is a mean over the
    clips that are not entirely black.

    Args:
        method: In evaluation mode, on the device.
        judge: `Judge.predict`, likewise.
        clips: The real clips, from `judge_real_clips`.
        info: Names the static and the dynamic factors.
        device: Where to compute.
        seed: Decides the pairs and the draws.
        batch_size: Clips decoded at a time.
        identities: From `unseen_factors`; such a factor has no other metric than `eer`, an `identity_error`, and in
            real clips `colour_eer`, a `colour_error`.
        progress: Called with the setting, the clips done and all clips.
    """
    scores = {PSNR: float(clips.values[PSNR].nanmean())} if PSNR in clips.values else {}
    results: Results = {setting: (_judged(clips, setting), clips.factors) for setting in OF_REAL_CLIPS}
    judged = results["real"][0]
    results |= _judge_made(method, judge, clips, info, device, seed, batch_size, progress)
    classes = {**info.static, **info.dynamic}
    for setting, (predicted, truth) in results.items():
        named = {name: value for name, value in predicted.items() if name in classes and name not in identities}
        found = factor_scores(named, truth, classes)
        if IN_ORDER in predicted:
            dynamic = {name: value for name, value in truth.items() if name in info.dynamic}
            found |= order_scores(predicted, dynamic)
        scores |= {f"{setting}/{name}": value for name, value in found.items()}
        for name in identities.keys() & truth.keys() & judged.keys() if "redrawn" not in setting else ():
            origins = torch.arange(len(clips)).repeat(len(predicted[name]) // len(clips))
            rate = identity_error(predicted[name], judged[name], clips.factors[name], origins, identities[name])
            scores[f"{setting}/{name}/eer"] = rate
    for name in identities.keys() & clips.factors.keys():
        scores[f"real/{name}/colour_eer"] = colour_error(clips.values[COLOUR], clips.factors[name])
    return scores


def _judged(clips: Encoded, setting: str) -> dict[str, Tensor]:
    """What the judge predicted in a setting of real clips, by factor."""
    prefix = f"{JUDGED}{setting}/"
    return {name.removeprefix(prefix): value for name, value in clips.values.items() if name.startswith(prefix)}


def _judge_made(
    method: Method,
    judge: Predict,
    clips: Encoded,
    info: DatasetInfo,
    device: torch.device | str,
    seed: int,
    batch_size: int,
    progress: Progress,
) -> Results:
    """Judge what the method makes in every possible setting; arguments of `score`."""
    settings, generator = possible_settings(method), torch.Generator(device).manual_seed(seed)
    autoencoder, sampler = cast(Autoencoder, method), cast(Sampler, method)
    results: Results = {}
    for setting, (s, z, truth) in _latents(autoencoder, settings, clips, info, seed, generator).items():
        made = (
            autoencoder.decode(s_part.to(device), z_part.to(device))
            for s_part, z_part in zip(torch.split(s, batch_size), torch.split(z, batch_size), strict=True)
        )
        results[setting] = _judge_all(judge, made, len(s), setting, progress), truth
    if "sampled" in settings:
        total = DRAWS * len(clips)
        counts = (min(SAMPLES, total - start) for start in range(0, total, SAMPLES))
        made = (sampler.sample(count, info.features.shape[0], generator) for count in counts)
        results["sampled"] = _judge_all(judge, made, total, "sampled", progress), {}
    for setting in [setting for setting in settings if setting.endswith("redrawn")]:
        kept = info.dynamic if setting == "static_redrawn" else info.static
        length, total = info.features.shape[0], DRAWS * len(clips)
        pairs = _redraw(autoencoder, length, total, "dynamic" if kept is info.static else "static", generator)
        first, second = zip(*((judge(a), judge(b)) for a, b in pairs), strict=True)
        results[setting] = (
            _joined(second),
            {name: _shown(value) for name, value in _joined(first).items() if name in kept},
        )
        progress(setting, total, total)
    return results


def _latents(
    method: Autoencoder, settings: list[str], clips: Encoded, info: DatasetInfo, seed: int, generator: torch.Generator
) -> dict[str, tuple[Tensor, Tensor, dict[str, Tensor]]]:
    """The latents to decode in each of the settings, and the factors that they should decode to."""
    if "reconstruction" not in settings:
        return {}
    count, length = clips.dynamic.shape[:2]
    swapped = partners(count, torch.Generator().manual_seed(seed))
    repeated = torch.arange(count).repeat(DRAWS)
    static = {name: clips.factors[name] for name in info.static}
    dynamic = {name: clips.factors[name] for name in info.dynamic}
    latents = {
        "reconstruction": (clips.static, clips.dynamic, static | dynamic),
        "swap": (clips.static, clips.dynamic[swapped], static | _take(dynamic, swapped)),
    }
    if "static_drawn" in settings:
        drawn = torch.cat([method.sample_static(count, generator) for _ in range(DRAWS)])
        latents["static_drawn"] = drawn, clips.dynamic[repeated], _take(dynamic, repeated)
    if "dynamic_drawn" in settings:
        drawn = torch.cat([method.sample_dynamic(count, length, generator) for _ in range(DRAWS)])
        latents["dynamic_drawn"] = clips.static[repeated], drawn, _take(static, repeated)
    return latents


def _judge_all(
    judge: Predict, blocks: Iterable[Tensor], total: int, setting: str, progress: Progress
) -> dict[str, Tensor]:
    """Predictions of the judge for blocks of clips, by factor, on the CPU."""
    parts: list[Mapping[str, Tensor]] = []
    done = 0
    for x in blocks:
        parts.append(judge(x))
        done += len(x)
        if len(parts) % REPORT_EVERY == 0 or done == total:
            progress(setting, done, total)
    return _joined(parts)


def _joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The predictions for blocks of clips as one, on the CPU."""
    return {name: torch.cat([part[name].cpu() for part in parts]) for name in parts[0]}


def _redraw(
    method: Autoencoder, length: int, total: int, redrawn: str, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of pairs of clips of the priors, `total` in all, which differ in one latent only."""
    for start in range(0, total, SAMPLES):
        count = min(SAMPLES, total - start)
        s, z = method.sample_static(count, generator), method.sample_dynamic(count, length, generator)
        first = method.decode(s, z)
        if redrawn == "static":
            yield first, method.decode(method.sample_static(count, generator), z)
        else:
            yield first, method.decode(s, method.sample_dynamic(count, length, generator))


def _shown(predicted: Tensor) -> Tensor:
    """What a clip shows by the judge's prediction: the most probable class, or the trajectory."""
    return predicted.argmax(1) if predicted.ndim == 2 else predicted


def _take(factors: Mapping[str, Tensor], indices: Tensor) -> dict[str, Tensor]:
    return {name: factor[indices] for name, factor in factors.items()}
