"""One pass over a split: the latents of its records, and whatever else is computed of them on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

import torch
from torch import Tensor

from seqviews.model.protocol import Encoder, Method, Posterior, Sampler, missing_capabilities
from seqviews.model.scaling import Scale
from seqviews.pipeline.manifest import DatasetInfo
from seqviews.pipeline.records import Batch, Progress

if TYPE_CHECKING:
    from seqviews.pipeline.stream.stream import SequenceStream

REPORT_EVERY = 10  # batches

Keep: TypeAlias = Callable[[Tensor, Posterior, Batch], Mapping[str, Tensor]]
"""Computes what else to keep, `[B, ...]` by name, from the scaled records of a batch, their posterior and the batch."""


def no_progress(task: str, done: float, total: float) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What was computed of the records of a split, in the order of the split, on the CPU.

    Attributes:
        keys: The keys of the records.
        indices: int64 `[N]`, each record's place in its split.
        factors: int64 `[N]` classes or float32 `[N, T, ...]` trajectories, by name.
        values: `[N, ...]` by name: the means of the posterior `static` and `dynamic`, and what else was computed. Of
            records that differ in length, what has a row for each frame is padded with 0, and `lengths` is int64 `[N]`.
    """

    keys: list[str]
    indices: Tensor
    factors: dict[str, Tensor]
    values: dict[str, Tensor]

    def __len__(self) -> int:
        """The number of records."""
        return len(self.keys)

    @property
    def static(self) -> Tensor:
        """The mean of s, float32 `[N, S]`."""
        return self.values["static"]

    @property
    def dynamic(self) -> Tensor:
        """The means of z, float32 `[N, T, D]`."""
        return self.values["dynamic"]


def encode(
    method: Encoder,
    stream: SequenceStream,
    scale: Scale,
    device: torch.device | str = "cpu",
    *,
    keep: Keep = lambda x, posterior, batch: {},
    maximum: int | None = None,
    progress: Progress = no_progress,
) -> Encoded:
    """Encode the records of a split; those that differ in length without padding, as each would be alone.

    Args:
        method: In evaluation mode, on the device, as the scale is.
        stream: One epoch of it is read, with the factors that it decodes.
        scale: Applied to the records first.
        device: Where to compute.
        keep: Computes what else is kept of each batch.
        maximum: Stop after so many records, the first that come.
        progress: Called with the split, the records done and all that will be.
    """

    def compute(batch: Batch) -> dict[str, Tensor]:
        x = scale(batch.x.to(device))
        posterior = method.encode(x)
        return {"static": posterior.static.mean, "dynamic": posterior.dynamic.mean, **keep(x, posterior, batch)}

    return collect(stream, compute, maximum, progress)


def samples(posterior: Posterior, generator: torch.Generator, prefix: str = "") -> dict[str, Tensor]:
    """A sample of each latent of a batch, `static_sample` and `dynamic_sample`, for `Keep`."""
    latents = {"static": posterior.static, "dynamic": posterior.dynamic}
    return {f"{prefix}{name}_sample": latent.rsample(generator) for name, latent in latents.items()}


@torch.inference_mode()
def collect(
    stream: SequenceStream,
    compute: Callable[[Batch], Mapping[str, Tensor]],
    maximum: int | None = None,
    progress: Progress = no_progress,
) -> Encoded:
    """What `compute` gives for each batch of a split, `[B, ...]` by name; other arguments as those of `encode`."""
    total = stream.records if maximum is None else min(maximum, stream.records)
    keys: list[str] = []
    indices: list[Tensor] = []
    starts: list[Tensor] = []
    factors: list[Mapping[str, Tensor]] = []
    values: list[Mapping[str, Tensor]] = []
    for number, padded in enumerate(stream, start=1):
        for batch in padded.by_length():
            keys += batch.keys
            indices.append(batch.indices)
            starts.append(torch.zeros_like(batch.indices) if batch.starts is None else batch.starts)
            factors.append(batch.factors)
            computed = {name: value.cpu() for name, value in compute(batch).items()}
            if padded.lengths is not None:
                computed["lengths"] = torch.full_like(batch.indices, batch.x.shape[1])
            values.append(computed)
        if number % REPORT_EVERY == 0 or len(keys) >= total:
            progress(stream.manifest.split, min(len(keys), total), total)
        if len(keys) >= total:
            break
    order = ((torch.cat(indices) << 32) + torch.cat(starts))[:total].argsort()

    def join(parts: list[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        return {name: join_padded([part[name] for part in parts])[order] for name in parts[0]}

    return Encoded([keys[i] for i in order.tolist()], torch.cat(indices)[order], join(factors), join(values))


def join_padded(parts: Sequence[Tensor]) -> Tensor:
    """Join tensors `[B, ...]`; if they are `[B, T, ...]` of different T, they are padded with 0 to the longest.

    >>> join_padded([torch.ones(1, 2), torch.ones(1, 3)]).tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    """
    if len({part.shape[1:] for part in parts}) == 1:
        return torch.cat(list(parts))
    longest = max(part.shape[1] for part in parts)
    joined = parts[0].new_zeros(sum(map(len, parts)), longest, *parts[0].shape[2:])
    row = 0
    for part in parts:
        joined[row : row + len(part), : part.shape[1]] = part
        row += len(part)
    return joined


@torch.inference_mode()
def check_records(method: Method, scale: Scale, info: DatasetInfo, device: torch.device | str = "cpu") -> None:
    """Check that a method in evaluation mode and the scale of its run fit a data set, before any record is read.

    Raises:
        ValueError: If the records are not of the run's modality, or of a shape that the method was not built for.
    """
    if info.modality != scale.modality:
        raise ValueError(f"{info.name} holds {info.modality}s, and the run was trained on {scale.modality}s")
    length, *frame = info.features.shape
    if info.modality == "clip":
        frame = [frame[2], *frame[:2]]
    try:
        if not missing_capabilities(method, "encode"):
            cast(Encoder, method).encode(torch.zeros(1, length, *frame, device=device))
        elif not missing_capabilities(method, "sample"):
            sampled = list(cast(Sampler, method).sample(1, length, torch.Generator(device)).shape[2:])
            if sampled != frame:
                raise ValueError(f"frames are {frame}, the method samples {sampled}")
    except ValueError as error:
        raise ValueError(f"the run's method does not fit the {info.modality}s of {info.name}: {error}") from None


def default_device() -> torch.device:
    """A GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
