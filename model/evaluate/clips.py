"""The protocol of the verdict: what is decoded, and what it should show [P 4.2]."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from seqviews.model.evaluate.metrics import factor_scores, foreground_psnr
from seqviews.model.protocol import Posterior, SequenceModel
from seqviews.model.scaling import MelScale, PixelScale
from seqviews.pipeline.manifest import DatasetInfo
from seqviews.pipeline.records import Batch

DRAWS, REPORT_EVERY = 5, 10
SETTINGS = {
    "real": "the real clips",
    "reconstruction": "s and z of the same clip",
    "swap": "s of one clip, z of another",
    "static_drawn": "s drawn from its prior, z of a clip",
    "dynamic_drawn": "z drawn from its prior, s of a clip",
}
PSNR = "reconstruction/foreground_psnr"
_INDEX, _PSNR = "\0index", "\0psnr"  # no factor is called so

Progress: TypeAlias = Callable[[str, int, int], None]
Predict: TypeAlias = Callable[[Tensor], Mapping[str, Tensor]]
"""Says what clips `[B, T, C, H, W]` show: class probabilities `[B, K]` or trajectories `[B, T, n, 2]`, by factor."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """The clips of a split as means of the posterior, in the order of their indices, on the model's device.

    Attributes:
        static: `[N, S]`.
        dynamic: `[N, T, D]`.
        factors: int64 `[N]` or float32 `[N, T, n, 2]`, by name, on the CPU.
        indices: int64 `[N]`, each record's place in its split, on the CPU.
        judged: What the judge says of the clips themselves, by factor, on the CPU.
        psnr: `[N]`, `metrics.foreground_psnr` of what they decode to, on the CPU.
    """

    static: Tensor
    dynamic: Tensor
    factors: dict[str, Tensor]
    indices: Tensor
    judged: dict[str, Tensor]
    psnr: Tensor

    def __len__(self) -> int:
        """The number of clips."""
        return len(self.static)


@torch.inference_mode()
def check_records(
    model: SequenceModel, scale: PixelScale | MelScale, info: DatasetInfo, device: torch.device | str = "cpu"
) -> None:
    """Let a model refuse the records of a data set, before any is read.

    Args:
        model: In evaluation mode, on the device.
        scale: Of the run, which tells what it was trained on.
        info: Of the data set.
        device: Where the model is.

    Raises:
        ValueError: If they are not of the run's modality, or of a shape that the model was not built for.
    """
    trained = "clip" if isinstance(scale, PixelScale) else "segment"
    if info.modality != trained:
        raise ValueError(f"{info.name} holds {info.modality}s, and the run was trained on {trained}s")
    shape = info.features.shape
    if info.modality == "clip":
        length, height, width, channels = shape
        shape = length, channels, height, width
    try:
        model.encode(torch.zeros(1, *shape, device=device))
    except ValueError as error:
        raise ValueError(f"the run's model does not take the {trained}s of --data: {error}") from None


@torch.inference_mode()
def encode_clips(
    model: SequenceModel,
    judge: Predict,
    batches: Iterable[Batch],
    device: torch.device | str = "cpu",
    max_clips: int | None = None,
) -> Encoded:
    """Encode, decode and judge the clips of a split, all or the first `max_clips` that come.

    Raises:
        ValueError: If there are fewer than two: they could not be swapped.
    """
    labels: list[dict[str, Tensor]] = []
    judged: list[dict[str, Tensor]] = []
    posteriors: list[Posterior] = []
    count = 0
    for batch in batches:
        x = batch.x.to(device) / 255
        posterior = model.encode(x)
        psnr = foreground_psnr(model.decode(posterior.static.mean, posterior.dynamic.mean), x)
        posteriors.append(posterior)
        judged.append(_on_cpu(judge(x)))
        labels.append({**batch.factors, _INDEX: batch.indices, _PSNR: psnr.cpu()})
        count += len(x)
        if max_clips is not None and count >= max_clips:
            count = max_clips
            break
    if count < 2:
        raise ValueError(f"the split gives {count} clips to evaluate, and a swap needs two: prepare it with more clips")
    factors = _concatenate(labels)
    order = factors[_INDEX][:count].argsort()
    factors = _take(factors, order)
    return Encoded(
        static=torch.cat([posterior.static.mean for posterior in posteriors])[order.to(device)],
        dynamic=torch.cat([posterior.dynamic.mean for posterior in posteriors])[order.to(device)],
        indices=factors.pop(_INDEX),
        psnr=factors.pop(_PSNR),
        factors=factors,
        judged=_take(_concatenate(judged), order),
    )


def partners(count: int, generator: torch.Generator) -> Tensor:
    """Another clip for each of `count` clips, at random: int64 `[count]`, a permutation in which none is its own."""
    ring = torch.randperm(count, generator=generator)
    partner = torch.empty_like(ring)
    partner[ring] = ring.roll(1)
    return partner


@torch.inference_mode()
def score(
    model: SequenceModel,
    judge: Predict,
    clips: Encoded,
    info: DatasetInfo,
    *,
    seed: int = 0,
    batch_size: int = 128,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, float]:
    """Every figure in every setting, keyed `setting/factor/figure`, and `reconstruction/foreground_psnr` in dB.

    Settings are those of `SETTINGS`; figures those of `metrics.factor_scores`. What a clip should show follows from
    where its latents are from: the static factors are those of the clip that s is from, the dynamic factors those of
    the clip that z is from, and of a drawn latent there is no truth. Each drawn latent is drawn `DRAWS` times a clip.
    The PSNR is a mean over clips, leaving out those that are black all over.

    Args:
        model: In evaluation mode.
        judge: `Judge.predict`.
        clips: The real clips.
        info: Says which factors are static and which dynamic.
        seed: Of the pairs and the draws.
        batch_size: Clips decoded at a time.
        progress: Called with the setting, clips done and all clips.
    """
    count, length = clips.dynamic.shape[:2]
    device = clips.static.device
    generator = torch.Generator(device).manual_seed(seed)
    swapped = partners(count, torch.Generator().manual_seed(seed))
    kept = torch.arange(count).repeat(DRAWS)
    drawn_static = torch.cat([model.sample_static(count, generator) for _ in range(DRAWS)])
    drawn_dynamic = torch.cat([model.sample_dynamic(count, length, generator) for _ in range(DRAWS)])
    static = {name: clips.factors[name] for name in info.static}
    dynamic = {name: clips.factors[name] for name in info.dynamic}

    def judged(setting: str, s: Tensor, z: Tensor) -> dict[str, Tensor]:
        return judge_latents(model, judge, s, z, batch_size, lambda done: progress(setting, done, len(s)))

    results = {
        "real": (clips.judged, static | dynamic),
        "reconstruction": (judged("reconstruction", clips.static, clips.dynamic), static | dynamic),
        "swap": (judged("swap", clips.static, clips.dynamic[swapped.to(device)]), static | _take(dynamic, swapped)),
        "static_drawn": (judged("static_drawn", drawn_static, clips.dynamic[kept.to(device)]), _take(dynamic, kept)),
        "dynamic_drawn": (judged("dynamic_drawn", clips.static[kept.to(device)], drawn_dynamic), _take(static, kept)),
    }
    scores = {PSNR: float(clips.psnr.nanmean())}
    for setting, (said, truth) in results.items():
        scores |= {f"{setting}/{name}": value for name, value in factor_scores(said, truth).items()}
    return scores


@torch.inference_mode()
def judge_latents(
    model: SequenceModel, judge: Predict, s: Tensor, z: Tensor, batch_size: int, progress: Callable[[int], None]
) -> dict[str, Tensor]:
    """What the judge says of the clips that `[N, S]` and `[N, T, D]` decode to, by factor, on the CPU."""
    parts: list[dict[str, Tensor]] = []
    for start in range(0, len(s), batch_size):
        part = slice(start, start + batch_size)
        parts.append(_on_cpu(judge(model.decode(s[part], z[part]))))
        if len(parts) % REPORT_EVERY == 0 or start + batch_size >= len(s):
            progress(min(start + batch_size, len(s)))
    return _concatenate(parts)


def _on_cpu(judged: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.cpu() for name, value in judged.items()}


def _take(factors: Mapping[str, Tensor], indices: Tensor) -> dict[str, Tensor]:
    return {name: factor[indices] for name, factor in factors.items()}


def _concatenate(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
