"""How much of what a method decodes depends on each of its latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from seqviews.model.evaluate.encode import Encoded
from seqviews.model.protocol import missing_capabilities

MAXIMUM = 1024  # records
IGNORED = 0.01
LATENTS = {"static": "s", "dynamic": "z"}


@torch.inference_mode()
def latent_use(
    method: Any, records: Encoded, device: torch.device | str = "cpu", seed: int = 0, maximum: int = MAXIMUM
) -> dict[str, float]:
    """The mean square change of the decoded records when a latent is replaced, over that of an unrelated pair.

    An unrelated pair is two reconstructions of different records, so the values are near 1 for a latent that decides
    all, and 0 for one that the decoder ignores.

    Args:
        method: In evaluation mode, on the device.
        records: Encoded records, at least two; a random choice of at most `maximum` is used.
        device: Where to compute.
        seed: Decides the choice, the pairs and the draws.
        maximum: The number of records.

    Returns:
        `use/static_exchanged` and `use/dynamic_exchanged`, where the latent becomes that of another record, and
        `use/static_drawn` and `use/dynamic_drawn`, where it is drawn from its prior, if the method can.
    """
    chosen = torch.randperm(len(records), generator=torch.Generator().manual_seed(seed))[:maximum]
    generator = torch.Generator(device).manual_seed(seed)
    s, z = records.static[chosen].to(device), records.dynamic[chosen].to(device)
    decoded: Tensor = method.decode(s, z)
    unrelated = (decoded - decoded.roll(1, 0)).square().mean()
    replaced = {"static_exchanged": (s.roll(1, 0), z), "dynamic_exchanged": (s, z.roll(1, 0))}
    if not missing_capabilities(method, "sample_static"):
        replaced["static_drawn"] = method.sample_static(len(s), generator), z
    if not missing_capabilities(method, "sample_dynamic"):
        replaced["dynamic_drawn"] = s, method.sample_dynamic(*z.shape[:2], generator)
    changes = {name: (method.decode(*latents) - decoded).square().mean() for name, latents in replaced.items()}
    return {f"use/{name}": float(change / unrelated) for name, change in changes.items()}


def ignored_latents(use: Mapping[str, float]) -> list[str]:
    """A sentence for each latent that the decoder ignores, of the values of `latent_use`."""
    return [
        f"the decoder ignores {symbol}: to exchange it changes what is decoded by {change:.1%} of the difference "
        "between unrelated records, so no metric of the other latent shows that the two are apart"
        for name, symbol in LATENTS.items()
        if (change := use.get(f"use/{name}_exchanged", 1.0)) < IGNORED
    ]
