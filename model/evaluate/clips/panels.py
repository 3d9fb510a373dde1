"""The images of a report on clips: which clips they show, their headings and captions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from seqviews.model.evaluate.clips.protocol import PSNR
from seqviews.model.evaluate.encode import Encoded
from seqviews.model.protocol import missing_capabilities
from seqviews.model.report.grids import (
    diverse,
    exchange_grid,
    generation_grid,
    interpolation_grid,
    reconstruction_grid,
    sample_grid,
    samples_grid,
    swap_grid,
)
from seqviews.model.report.html import Panel
from seqviews.model.report.images import Grid
from seqviews.model.scaling import Scale
from seqviews.pipeline.manifest import DatasetInfo

if TYPE_CHECKING:
    from seqviews.pipeline.stream.stream import SequenceStream

CONTENTS, MOTIONS, SAMPLED = 4, 5, 20
TABLE_1 = {"accuracy": 0.9999, "inception_score": 8.871, "intra_entropy": 0.014, "inter_entropy": 2.197}
PUBLISHED = {"sprites": [("static_drawn", "motion", "C-DSVAE, paper, Table 1", TABLE_1)]}
"""Published results by data set: setting, factor, source and metrics."""
TEXTS = {
    "reconstructions": (
        "Reconstructions",
        "Real clips, and what the means of their own s and z decode to. The PSNR is over the pixels that are not black "
        "in the real clip.",
    ),
    "swap_grid": (
        "Swaps",
        "Top row: real clips that the s (who) of each column is taken from. Left column: real clips that the z "
        "(motion) of each row is taken from. Every other clip is decoded from the two. As in the paper's "
        "Figures 3, 5 and 7.",
    ),
    "exchanges": (
        "Exchanges",
        "Pairs of real clips; below, each with its own s and the z of the other. As in the paper's Figure 12.",
    ),
    "samples": (
        "Draws",
        "Left column: real clips. Then their z with two draws of s: the motion should stay. Then their s with two "
        "draws of z: the content should stay. The draws are the same in every row. As in the paper's Figures 10, 11.",
    ),
    "generations": (
        "Random generation",
        "A real clip. Left, its z with draws of s: this motion, other characters. Right, its s with draws of z: this "
        "character, other motions. As in the paper's Figures 8 and 11.",
    ),
    "interpolations": (
        "Interpolation of s",
        "From the s of one clip to that of another in equal steps on a straight line, with the motion of the first: "
        "the appearance should change step by step, the motion not at all. As in the paper's Figure 16.",
    ),
    "sampled": ("Samples", "Clips that the generator samples."),
}
"""Heading and caption of each grid."""


@torch.inference_mode()
def clip_panels(
    method: Any,
    clips: Encoded,
    stream: SequenceStream,
    scale: Scale,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> list[Panel]:
    """The grids of a method that can encode and decode, of clips that differ from each other.

    Args:
        method: In evaluation mode, on the device, as the scale is.
        clips: The clips to choose from, with `PSNR`.
        stream: The stream that they are from.
        scale: The scale of the run.
        device: Where to compute.
        seed: Decides the choice and the draws.
    """
    info, generator = stream.info, torch.Generator().manual_seed(seed)
    content = diverse(_classes(clips, info.static), CONTENTS, generator)
    motion = diverse(_classes(clips, info.dynamic), MOTIONS, generator)
    chosen = stream.sets[0].batch(clips.indices[content + motion], excerpt=stream.excerpt)
    real = scale(chosen.x.to(device)).cpu()
    content_clips, motion_clips = real[: len(content)], real[len(content) :]
    s, z = clips.static[content].to(device), clips.dynamic[content].to(device)
    moving_s, moving_z = clips.static[motion].to(device), clips.dynamic[motion].to(device)
    grids = {
        "reconstructions": reconstruction_grid(method, s, z, content_clips, clips.values[PSNR][content]),
        "swap_grid": swap_grid(method, s, moving_z, content_clips, motion_clips),
        "exchanges": exchange_grid(method, moving_s[:4], moving_z[:4], motion_clips[:4]),
    }
    if not missing_capabilities(method, "sample_static", "sample_dynamic"):
        draws = [torch.Generator(device).manual_seed(seed) for _ in range(2)]
        grids["samples"] = sample_grid(method, moving_s, moving_z, motion_clips, draws[0])
        grids["generations"] = generation_grid(method, s[0], z[0], content_clips[0], draws[1])
    grids["interpolations"] = interpolation_grid(method, s, z)
    return [_panel(name, grid, info) for name, grid in grids.items()]


@torch.inference_mode()
def sampled_panel(method: Any, info: DatasetInfo, device: torch.device | str = "cpu", seed: int = 0) -> Panel:
    """Clips that a generator samples; arguments as those of `clip_panels`."""
    x = method.sample(SAMPLED, info.features.shape[0], torch.Generator(device).manual_seed(seed))
    return _panel("sampled", samples_grid(x), info)


def _panel(name: str, grid: Grid, info: DatasetInfo) -> Panel:
    return Panel.of_grid(name, *TEXTS[name], replace(grid, rate=info.features.rate))


def _classes(clips: Encoded, factors: Mapping[str, Any]) -> Tensor:
    """The factors with classes among `factors`, int64 `[N, F]`."""
    columns = [clips.factors[name] for name, classes in factors.items() if classes is not None]
    return torch.stack(columns, dim=1) if columns else torch.zeros(len(clips), 0, dtype=torch.int64)
