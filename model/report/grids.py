"""Grids of what a method makes of its latents: clips decoded, swapped, drawn from the priors, interpolated."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seqviews.model.protocol import Autoencoder, Decoder
from seqviews.model.report.images import Cell, Grid, to_frames

DRAWN, BETWEEN = 5, 3


def diverse(labels: Tensor, count: int, generator: torch.Generator) -> list[int]:
    """Indices of up to `count` clips that differ from each other in as many factors as possible, drawn at random.

    Each next clip is the one that is farthest, in factors that differ, from the nearest of those before.

    Args:
        labels: int64 `[N, F]`; with no factors the choice is just random.
        count: How many.
        generator: On the CPU.
    """
    raise NotImplementedError


def views_grid(kinds: Sequence[tuple[Tensor, Sequence[str]]]) -> Grid:
    """Clips in two columns, each above its views, frame above frame.

    Args:
        kinds: The clips, then their views of each kind, `[B, T, C, H, W]` in [0, 1], each with the captions of those
            that are shown, the first.
    """
    raise NotImplementedError


def samples_grid(x: Tensor) -> Grid:
    """Clips `[N, T, C, H, W]` in [0, 1] that a generator without an encoder draws from its priors."""
    raise NotImplementedError


@torch.inference_mode()
def reconstruction_grid(model: Decoder, s: Tensor, z: Tensor, real: Tensor, psnr: Tensor) -> Grid:
    """Each clip above what its own latents decode to.

    Args:
        model: Decodes.
        s: `[N, S]`.
        z: `[N, T, D]`.
        real: The clips, `[N, T, C, H, W]` in [0, 1].
        psnr: `[N]`, of each over its foreground, in dB.
    """
    raise NotImplementedError


@torch.inference_mode()
def exchange_grid(model: Decoder, s: Tensor, z: Tensor, real: Tensor) -> Grid:
    """Pairs of clips, and what they decode to with their dynamic latents exchanged [P figure 12].

    Args:
        model: Decodes.
        s: `[N, S]`; clips 0 and 1 are a pair, 2 and 3 the next; of an odd number the last is left out.
        z: `[N, T, D]`.
        real: The clips, `[N, T, C, H, W]` in [0, 1].
    """
    raise NotImplementedError


@torch.inference_mode()
def generation_grid(model: Decoder, s: Tensor, z: Tensor, real: Tensor, generator: torch.Generator) -> Grid:
    """One latent of a clip kept, the other drawn several times [P figures 8, 10, 11].

    Left below the clip, its `z` with `DRAWN` draws of `s`; right, its `s` with `DRAWN` draws of `z`.

    Args:
        model: Draws and decodes.
        s: `[S]`, of the real clip.
        z: `[T, D]`, likewise.
        real: The clip itself, `[T, C, H, W]` in [0, 1].
        generator: Of the draws, on the model's device.
    """
    raise NotImplementedError


@torch.inference_mode()
def interpolation_grid(model: Decoder, s: Tensor, z: Tensor) -> Grid:
    """From one `s` to another on a straight line, with one motion: a column a pair [P figure 16].

    Args:
        model: Decodes.
        s: `[N, S]`; 0 and 1 are a pair, 2 and 3 the next; of an odd number the last is left out.
        z: `[N, T, D]`, likewise: the first of a pair gives the motion.
    """
    raise NotImplementedError


@torch.inference_mode()
def swap_grid(model: Decoder, s: Tensor, z: Tensor, content: Tensor, motion: Tensor) -> Grid:
    """Every static latent with every dynamic one: a column for each `s`, a row for each `z` [P figure 3].

    The top row shows the real clips of the columns' `s`, the left column those of the rows' `z`.

    Args:
        model: Decodes.
        s: `[columns, S]`.
        z: `[rows, T, D]`.
        content: The real clips of `s`, `[columns, T, C, H, W]` in [0, 1].
        motion: The real clips of `z`, `[rows, T, C, H, W]`.
    """
    raise NotImplementedError


@torch.inference_mode()
def sample_grid(model: Decoder, s: Tensor, z: Tensor, real: Tensor, generator: torch.Generator) -> Grid:
    """One factor kept, the other drawn: a row for each clip [P figures 8, 11].

    The columns are the real clip, its `z` with two draws of `s`, and its `s` with two draws of `z`; the draws are the
    same in every row.

    Args:
        model: Draws and decodes.
        s: `[N, S]`, of the real clips.
        z: `[N, T, D]`, likewise.
        real: The clips themselves, `[N, T, C, H, W]` in [0, 1].
        generator: Of the draws, on the model's device.
    """
    raise NotImplementedError


@torch.inference_mode()
def cross_grid(model: Autoencoder, segments: Tensor) -> Grid:
    """Every `s` with every `z` of some segments of speech, as stills [P figure 13].

    The top row shows the real segments of the columns' `z`, the left column those of the rows' `s`.

    Args:
        model: Encodes and decodes.
        segments: `[N, T, n_mels]` of mean 0 and deviation 1.
    """
    raise NotImplementedError
