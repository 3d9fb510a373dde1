"""The pictures of a report: which clips they show, and what they are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqviews.model.evaluate.clips import Encoded
from seqviews.model.protocol import SequenceModel
from seqviews.model.report.curves import INFORMATION, SATURATED, information_figure, read_log, terms_figure
from seqviews.model.report.grids import exchange_grid, generation_grid, interpolation_grid, reconstruction_grid
from seqviews.model.report.html import Picture
from seqviews.model.report.images import Image, diverse, png, sample_grid, swap_grid
from seqviews.pipeline.manifest import DatasetInfo
from seqviews.pipeline.records import Batch

CONTENTS, MOTIONS = 4, 5
LOG = "log/metrics.csv"
HEADINGS = {
    "reconstructions": "Reconstructions",
    "swap_grid": "Swaps",
    "exchanges": "Exchanges",
    "samples": "Draws",
    "generations": "Random generation",
    "interpolations": "Interpolation of s",
    "information": "Mutual information while training",
    "terms": "Learning curves",
}
CAPTIONS = {
    "reconstructions": "Real clips, and what the means of their own s and z decode to. The PSNR is over the pixels "
    "that are not black in the real clip.",
    "swap_grid": "Top row: real clips that the s (who) of each column is taken from. Left column: real clips that the "
    "z (motion) of each row is taken from. Every other clip is decoded from the two. As in the paper's Figures 3, 7.",
    "exchanges": "Real clips two by two; below, each with its own s and the other's z. As in the paper's Figure 12.",
    "samples": "Left column: real clips. Then their z with two draws of s: the motion should stay. Then their s with "
    "two draws of z: the content should stay. The draws are the same in every row. As in the paper's Figures 10, 11.",
    "generations": "A real clip. Left, its z with draws of s: always this motion, always somebody else. Right, its s "
    "with draws of z: always this character, in other motions. As in the paper's Figures 8 and 11.",
    "interpolations": "From the s of one clip to that of another in equal steps on a straight line, with the motion of "
    "the first: the look should change step by step and the motion not at all. As in the paper's Figure 16.",
    "information": "Estimates from one batch each, faint, and their running mean, as in the paper's Figures 6, 14 "
    f"and 15. Dots: less than {SATURATED:.0%} of the weight is off the diagonal. There the estimate is saturated at "
    "log M and means nothing, and I(s; z) is no more than that of the other latent and x. 0 means independent.",
    "terms": "Every figure that the training logged, of one batch each, faint, and its running mean. The terms are in "
    "nats a sequence.",
}


def pictures_of_clips(
    model: SequenceModel, clips: Encoded, batches: Iterable[Batch], info: DatasetInfo, seed: int
) -> list[Picture]:
    """The grids, of clips that differ from each other.

    Args:
        model: In evaluation mode.
        clips: What is chosen from.
        batches: Once through the split that they are of.
        info: Says which factors are static and which dynamic.
        seed: Of the choice and of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    content = diverse(_classes(clips.factors, info.static), CONTENTS, generator)
    motion = diverse(_classes(clips.factors, info.dynamic), MOTIONS, generator)
    real = _real_clips(batches, clips.indices[content + motion])
    content_clips, motion_clips = real[: len(content)], real[len(content) :]
    device = clips.static.device
    s, z = clips.static[content], clips.dynamic[content]
    moving_s, moving_z = clips.static[motion], clips.dynamic[motion]

    def draws() -> torch.Generator:
        return torch.Generator(device).manual_seed(seed)

    return [
        _picture("reconstructions", reconstruction_grid(model, s, z, content_clips, clips.psnr[content])),
        _picture("swap_grid", swap_grid(model, s, moving_z, content_clips, motion_clips)),
        _picture("exchanges", exchange_grid(model, moving_s[:4], moving_z[:4], motion_clips[:4])),
        _picture("samples", sample_grid(model, moving_s, moving_z, motion_clips, draws())),
        _picture("generations", generation_grid(model, s[0], z[0], content_clips[0], draws())),
        _picture("interpolations", interpolation_grid(model, s, z)),
    ]


def pictures_of_log(run: Path, batch_size: int | None) -> list[Picture]:
    """The learning curves of a run; none if its folder holds no log with rows.

    Args:
        run: The folder.
        batch_size: Of the run, if it is known.

    Raises:
        ValueError: As `curves.read_log`.
    """
    log = read_log(run / LOG) if (run / LOG).is_file() else {}
    if not len(log.get("step", ())):
        return []
    pictures = [_picture("terms", terms_figure(log))]
    if INFORMATION.issubset(log):
        pictures.insert(0, _picture("information", information_figure(log, batch_size)))
    return pictures


def _picture(name: str, image: Image) -> Picture:
    return Picture(name, HEADINGS[name], CAPTIONS[name], png(image))


def _classes(factors: Mapping[str, Tensor], names: Mapping[str, Any]) -> Tensor:
    """The class factors among `names`, int64 `[N, F]`."""
    count = len(next(iter(factors.values())))
    columns = [factors[name] for name, classes in names.items() if classes is not None]
    return torch.stack(columns, dim=1) if columns else torch.zeros(count, 0, dtype=torch.int64)


def _real_clips(batches: Iterable[Batch], indices: Tensor) -> Tensor:
    """The clips at these places of the split, `[len(indices), T, C, H, W]` in [0, 1]."""
    places: Sequence[int] = indices.tolist()
    wanted, found = set(places), {}
    for batch in batches:
        for clip, index in zip(batch.x, batch.indices.tolist(), strict=True):
            if index in wanted:
                found[index] = clip / 255
    return torch.stack([found[index] for index in places])
