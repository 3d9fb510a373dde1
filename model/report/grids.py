"""Pictures of what a model makes of its latents: clips again, exchanged, drawn from the priors, and in between."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

from seqviews.model.protocol import SequenceModel
from seqviews.model.report.images import Image, captioned, film_strip

COLUMNS, FRAMES = 2, 8
DRAWN, BETWEEN = 5, 3

Cell: TypeAlias = tuple[Image, str]


@torch.inference_mode()
def reconstruction_grid(model: SequenceModel, s: Tensor, z: Tensor, real: Tensor, psnr: Tensor) -> Image:
    """Each clip above what its own latents decode to.

    Args:
        model: Decodes.
        s: `[N, S]`.
        z: `[N, T, D]`.
        real: The clips, `[N, T, C, H, W]` in [0, 1].
        psnr: `[N]`, of each over its foreground, in dB.
    """
    decoded = model.decode(s, z)
    rows: list[list[Cell]] = []
    for start in range(0, len(real), COLUMNS):
        shown = range(start, min(start + COLUMNS, len(real)))
        rows.append([_cell(real[i], "real clip") for i in shown])
        rows.append([_cell(decoded[i], f"reconstruction, {float(psnr[i]):.1f} dB on the foreground") for i in shown])
    return captioned(rows, row_breaks=range(2, len(rows), 2))


@torch.inference_mode()
def exchange_grid(model: SequenceModel, s: Tensor, z: Tensor, real: Tensor) -> Image:
    """Clips two by two, and what they decode to with their dynamic latents exchanged [P figure 12].

    Args:
        model: Decodes.
        s: `[N, S]`, clips 0 and 1 are a pair, 2 and 3 the next; of an odd number the last is left out.
        z: `[N, T, D]`.
        real: The clips, `[N, T, C, H, W]` in [0, 1].
    """
    rows: list[list[Cell]] = []
    for first in range(0, len(real) - 1, 2):
        second = first + 1
        pair = model.decode(s[[first, second]], z[[second, first]])
        rows.append([_cell(real[first], "real clip A"), _cell(real[second], "real clip B")])
        rows.append([_cell(pair[0], "s (who) of A, z (motion) of B"), _cell(pair[1], "s (who) of B, z (motion) of A")])
    return captioned(rows, row_breaks=range(2, len(rows), 2))


@torch.inference_mode()
def generation_grid(model: SequenceModel, s: Tensor, z: Tensor, real: Tensor, generator: torch.Generator) -> Image:
    """One latent of a clip kept, the other drawn again and again [P figures 8, 10, 11].

    Left below the clip, its `z` with `DRAWN` draws of `s`; right, its `s` with `DRAWN` draws of `z`.

    Args:
        model: Draws and decodes.
        s: `[S]`, of the real clip.
        z: `[T, D]`, likewise.
        real: The clip itself, `[T, C, H, W]` in [0, 1].
        generator: Of the draws, on the model's device.
    """
    new_s = model.decode(model.sample_static(DRAWN, generator), z.expand(DRAWN, -1, -1))
    new_z = model.decode(s.expand(DRAWN, -1), model.sample_dynamic(DRAWN, len(z), generator))
    rows = [[_cell(real, "real clip"), _cell(real, "the same real clip")]]
    rows.append(
        [_cell(new_s[0], "its z (motion), s drawn from p(s)"), _cell(new_z[0], "its s (who), z drawn from p(z)")]
    )
    rows += [[_cell(left, ""), _cell(right, "")] for left, right in zip(new_s[1:], new_z[1:], strict=True)]
    return captioned(rows, row_breaks={1})


@torch.inference_mode()
def interpolation_grid(model: SequenceModel, s: Tensor, z: Tensor) -> Image:
    """From one `s` to another on a straight line, with one motion: a column a pair [P figure 16].

    Args:
        model: Decodes.
        s: `[N, S]`: 0 and 1 are a pair, 2 and 3 the next; of an odd number the last is left out.
        z: `[N, T, D]`, likewise: the first of a pair gives the motion.
    """
    shares = torch.linspace(0, 1, BETWEEN + 2, device=s.device)[:, None]
    columns = [
        model.decode(torch.lerp(s[first], s[first + 1], shares), z[first].expand(len(shares), -1, -1))
        for first in range(0, len(s) - 1, 2)
    ]
    texts = ["s of clip A", *["" for _ in range(BETWEEN)], "s of clip B, still with z of clip A"]
    return captioned([[_cell(column[i], text) for column in columns] for i, text in enumerate(texts)])


def _cell(clip: Tensor, text: str) -> Cell:
    return film_strip(clip, FRAMES), text
