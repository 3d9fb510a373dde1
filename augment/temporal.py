"""Content views: the same frames in another order [P 2.3]."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqviews.augment.draws import Stream, fresh_seeds, permutation


class TemporalShuffle(nn.Module):
    """Frames in a random order, every order equally likely, one a clip.

    The identity is one of them, once in T! draws: for the few frames where that is often (T = 2, half of them) the
    view is a copy of the clip, which is still a true positive for the static factor; use `TemporalReverse` instead.

    >>> shuffle = TemporalShuffle()
    >>> order = shuffle.draw(torch.tensor([3, 4]), frames=8)
    >>> order.sort(dim=1).values[0].tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]
    """

    def draw(self, seeds: Tensor, frames: int) -> Tensor:
        """An order a seed: int64 `[B, T]`; frame t of the view is frame `order[b, t]` of the clip."""
        return permutation(seeds, frames, Stream.CONTENT)

    def forward(self, x: Tensor, order: Tensor | None = None) -> Tensor:
        """The frames of `x` in `order`, or in one drawn with torch's generator.

        Args:
            x: Clips or segments `[B, T, ...]`.
            order: int64 `[B, T]`, as `draw` gives it.
        """
        return take_frames(x, self.draw(fresh_seeds(x.shape[0]), x.shape[1]) if order is None else order)


class TemporalReverse(nn.Module):
    """Frames in reverse: the last one first, always.

    >>> TemporalReverse()(torch.arange(6).view(2, 3))
    tensor([[2, 1, 0],
            [5, 4, 3]])
    """

    def draw(self, seeds: Tensor, frames: int) -> Tensor:
        """The order T-1 ... 0 for every seed: int64 `[B, T]`."""
        return torch.arange(frames - 1, -1, -1, device=seeds.device).repeat(seeds.shape[0], 1)

    def forward(self, x: Tensor, order: Tensor | None = None) -> Tensor:
        """The frames of `x` in `order`, in reverse if None; shapes as in `TemporalShuffle.forward`."""
        return x.flip(1) if order is None else take_frames(x, order)


def take_frames(x: Tensor, order: Tensor) -> Tensor:
    """Frame `order[b, t]` of `x[b]` at `[b, t]`, for any `[B, T, ...]` with an int64 `[B, S]` order."""
    clips = torch.arange(x.shape[0], device=x.device)[:, None]
    return x[clips, order.to(x.device, non_blocking=True)]
