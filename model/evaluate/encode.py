"""The latents of a data set's records, for probes and plots outside of this package."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqviews.model.protocol import SequenceModel
from seqviews.model.scaling import MelScale, PixelScale

if TYPE_CHECKING:
    from seqviews.pipeline.stream.stream import SequenceStream

REPORT_EVERY = 10


@torch.inference_mode()
def encode_split(
    model: SequenceModel,
    stream: SequenceStream,
    device: torch.device | str = "cpu",
    scale: PixelScale | MelScale | None = None,
    progress: Callable[[str, int, int], None] = lambda split, done, total: None,
) -> dict[str, NDArray[Any]]:
    """Means of the posterior of every record of a split, in the order of the split.

    Args:
        model: In evaluation mode, on the device.
        stream: One epoch of it is read; it gives the factors that it was asked for.
        device: Where the model is.
        scale: What the records go through first, on the device; that of pixels if None.
        progress: Called now and then with the split, the records encoded and all its records.

    Returns:
        `static` float32 `[N, S]`, `dynamic` float32 `[N, T, D]`, `keys` and `split` as text `[N]`, and for each factor
        `factor_<name>`: int64 `[N]` classes or a float32 `[N, T, ...]` trajectory.
    """
    scale = PixelScale() if scale is None else scale
    parts: list[dict[str, NDArray[Any]]] = []
    indices: list[int] = []
    split = stream.manifest.split
    for batch in stream:
        posterior = model.encode(scale(batch.x.to(device)))
        tensors = {"static": posterior.static.mean, "dynamic": posterior.dynamic.mean}
        tensors |= {f"factor_{name}": values for name, values in batch.factors.items()}
        texts = {"keys": np.array(batch.keys), "split": np.full(len(batch.keys), split)}
        parts.append(texts | {name: values.cpu().numpy() for name, values in tensors.items()})
        indices += batch.indices.tolist()
        if len(parts) % REPORT_EVERY == 0 or len(parts) == len(stream):
            progress(split, len(indices), len(stream.manifest))
    order = np.argsort(indices)
    return {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}
