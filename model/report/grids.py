"""Grids of what a method makes of its latents: clips decoded, swapped, drawn from the priors, interpolated.

The arguments of all grids: `model` decodes and, where needed, draws, with a generator on its device. `s` `[N, S]` and
`z` `[N, T, D]` are latents; `real`, `[N, T, C, H, W]` in [0, 1], the clips that they are from.
"""

from collections.abc import Sequence
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import torch
from torch import Tensor

from seqviews.model.protocol import Autoencoder
from seqviews.model.report.images import STRIP_FRAMES, Cell, Grid, Image, to_frames

DRAWN, BETWEEN = 5, 3
FEW_FRAMES = 5  # of a strip in grids with many columns
SAMPLE_COLUMNS = 4
SECOND = frozenset({1})  # with captions, two columns stand apart
ZOOM = (2, 4)  # pixels of a mel, and of a frame
RANGE = 2.5  # deviations from the mean where the colours end


def diverse(labels: Tensor, count: int, generator: torch.Generator) -> list[int]:
    """Indices of up to `count` clips that differ from each other in as many factors as possible, drawn at random.

    Each next clip is the one that is farthest, in factors that differ, from the nearest of those before. `labels` are
    int64 `[N, F]`; without factors the choice is just random. The generator is on the CPU.
    """
    order = torch.randperm(len(labels), generator=generator)
    shuffled = labels[order]
    chosen = [0]
    nearest = torch.full((len(labels),), labels.shape[1] + 1)
    while len(chosen) < min(count, len(labels)):
        nearest = torch.minimum(nearest, (shuffled != shuffled[chosen[-1]]).sum(1))
        nearest[chosen] = -1
        chosen.append(int(nearest.argmax()))
    return order[chosen].tolist()


def views_grid(kinds: Sequence[tuple[Tensor, Sequence[str]]]) -> Grid:
    """Clips in two columns, each above its views, frame above frame.

    `kinds` are the clips, then their views of each kind, `[B, T, C, H, W]` in [0, 1], each with the captions of those
    that are shown, the first.
    """
    shown = len(kinds[0][1])
    rows = [
        [_cell(clips[i], captions[i]) for i in range(start, min(start + 2, shown))]
        for start in range(0, shown, 2)
        for clips, captions in kinds
    ]
    breaks = set(range(len(kinds), len(rows), len(kinds)))
    return Grid(rows, breaks, SECOND, strip_frames=kinds[0][0].shape[1])


def samples_grid(x: Tensor) -> Grid:
    """Clips `[N, T, C, H, W]` in [0, 1] that a generator without an encoder draws from its priors."""
    cells = [_cell(clip) for clip in x]
    return Grid([cells[i : i + SAMPLE_COLUMNS] for i in range(0, len(cells), SAMPLE_COLUMNS)], strip_frames=FEW_FRAMES)


@torch.inference_mode()
def reconstruction_grid(model: Autoencoder, s: Tensor, z: Tensor, real: Tensor, psnr: Tensor) -> Grid:
    """Each clip above what its own latents decode to, captioned by the PSNR `[N]` over its foreground, in dB."""
    decoded = model.decode(s, z)
    captions = [f"reconstruction, {float(value):.1f} dB PSNR" for value in psnr]
    grid = views_grid([(real, ["real clip"] * len(real)), (decoded, captions)])
    return replace(grid, strip_frames=STRIP_FRAMES)


@torch.inference_mode()
def exchange_grid(model: Autoencoder, s: Tensor, z: Tensor, real: Tensor) -> Grid:
    """Pairs of clips, and what they decode to with their dynamic latents exchanged [P figure 12].

    Clips 0 and 1 are a pair, 2 and 3 the next; of an odd number the last is left out.
    """
    rows: list[list[Cell]] = []
    for first in range(0, len(real) - 1, 2):
        pair = [first, first + 1]
        exchanged = model.decode(s[pair], z[pair[::-1]])
        rows.append([_cell(real[first], "real clip A"), _cell(real[first + 1], "real clip B")])
        captions = ("s (who) of A, z (motion) of B", "s (who) of B, z (motion) of A")
        rows.append([_cell(clip, caption) for clip, caption in zip(exchanged, captions, strict=True)])
    return Grid(rows, set(range(2, len(rows), 2)), SECOND)


@torch.inference_mode()
def generation_grid(model: Autoencoder, s: Tensor, z: Tensor, real: Tensor, generator: torch.Generator) -> Grid:
    """One latent of a single clip, `s` `[S]` and `z` `[T, D]`, kept, the other drawn [P figures 8, 10, 11].

    Left below the clip, its `z` with `DRAWN` draws of `s`; right, its `s` with `DRAWN` draws of `z`.
    """
    new_s = model.decode(model.sample_static(DRAWN, generator), z.expand(DRAWN, -1, -1))
    new_z = model.decode(s.expand(DRAWN, -1), model.sample_dynamic(DRAWN, len(z), generator))
    rows = [[_cell(real, "real clip"), _cell(real, "the same real clip")]]
    captions = [("its z (motion), s drawn from p(s)", "its s (who), z drawn from p(z)")] + [("", "")] * (DRAWN - 1)
    rows += [[_cell(new_s[i], left), _cell(new_z[i], right)] for i, (left, right) in enumerate(captions)]
    return Grid(rows, {1}, SECOND)


@torch.inference_mode()
def interpolation_grid(model: Autoencoder, s: Tensor, z: Tensor) -> Grid:
    """From one `s` to another on a straight line, with the motion of the first: a column a pair [P figure 16].

    Latents 0 and 1 are a pair, 2 and 3 the next; of an odd number the last is left out.
    """
    weights = torch.linspace(0, 1, BETWEEN + 2, device=s.device)[:, None]
    columns = [
        model.decode(torch.lerp(s[first], s[first + 1], weights), z[first].expand(len(weights), -1, -1))
        for first in range(0, len(s) - 1, 2)
    ]
    captions = ["s of clip A", *[""] * BETWEEN, "s of clip B, still with z of clip A"]
    rows = [[_cell(column[i], caption) for column in columns] for i, caption in enumerate(captions)]
    return Grid(rows, column_breaks=set(range(1, len(columns))))


@torch.inference_mode()
def swap_grid(model: Autoencoder, s: Tensor, z: Tensor, content: Tensor, motion: Tensor) -> Grid:
    """Every static latent with every dynamic one: a column for each `s`, a row for each `z` [P figure 3].

    The top row shows `content`, the real clips of the columns' `s`; the left column `motion`, those of the rows' `z`.
    """
    rows: list[list[Cell | None]] = [[None, *map(_cell, content)]]
    for clip, trajectory in zip(motion, z, strict=True):
        decoded = model.decode(s, trajectory.expand(len(s), -1, -1))
        rows.append([_cell(clip), *map(_cell, decoded)])
    legends = {
        (0, 0): "inside: s of the column, z of the row",
        (0, 1): "real clips: their s (who) is that of the column",
        (1, 0): "real clips: their z (motion) is that of the row",
    }
    return Grid(rows, {1}, {1}, legends, strip_frames=FEW_FRAMES)


@torch.inference_mode()
def sample_grid(model: Autoencoder, s: Tensor, z: Tensor, real: Tensor, generator: torch.Generator) -> Grid:
    """One factor kept, the other drawn: a row for each clip [P figures 8, 11].

    The columns are the real clip, its `z` with two draws of `s`, and its `s` with two draws of `z`; the draws are the
    same in every row.
    """
    drawn_s, drawn_z = model.sample_static(2, generator), model.sample_dynamic(2, z.shape[1], generator)
    rows = []
    for clip, static, dynamic in zip(real, s, z, strict=True):
        two_s, two_z = static.expand(2, -1), dynamic.expand(2, -1, -1)
        decoded = model.decode(torch.cat([drawn_s, two_s]), torch.cat([two_z, drawn_z]))
        rows.append([_cell(clip), *map(_cell, decoded)])
    titles = {0: "real clip", 1: "its z (motion), s drawn from the prior", 3: "its s (who), z drawn from the prior"}
    legends = {(0, column): title for column, title in titles.items()}
    return Grid(rows, column_breaks={1, 3}, legends=legends, strip_frames=FEW_FRAMES)


@torch.inference_mode()
def cross_grid(model: Autoencoder, segments: Tensor) -> Grid:
    """Every `s` with every `z` of segments `[N, T, n_mels]` of mean 0 and deviation 1, as stills [P figure 13].

    The top row shows the real segments of the columns' `z`, the left column those of the rows' `s`.
    """
    posterior = model.encode(segments)
    real = [Cell(heatmap(segment)[None]) for segment in segments]
    rows: list[list[Cell | None]] = [[None, *real]]
    for own, s in zip(real, posterior.static.mean, strict=True):
        decoded = model.decode(s.expand(len(segments), -1), posterior.dynamic.mean)
        rows.append([own, *(Cell(heatmap(segment)[None]) for segment in decoded)])
    legends = {
        (0, 1): "real segments: their z (words) is that of the column",
        (1, 0): "real segments: their s (speaker) is that of the row",
    }
    return Grid(rows, {1}, {1}, legends)


def heatmap(segment: Tensor) -> Image:
    """A segment `[T, n_mels]` of mean 0 and deviation 1: time to the right, low frequencies at the bottom."""
    levels = (segment.detach().cpu().float().numpy().T[::-1] / RANGE + 1) / 2
    pixels = mpl.colormaps["magma"](levels.clip(0, 1), bytes=True)[..., :3]
    return np.ascontiguousarray(pixels.repeat(ZOOM[0], 0).repeat(ZOOM[1], 1))


def _cell(clip: Tensor, caption: str = "") -> Cell:
    return Cell(to_frames(clip), caption)
