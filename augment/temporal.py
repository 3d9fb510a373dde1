"""Content views: the same frames in another order [P 2.3]."""

import torch
from torch import Tensor, nn

from seqviews.augment.draws import Purpose, fresh_seeds, permutation


class TemporalShuffle(nn.Module):
    """Frames in a random order per clip, every order equally likely.

    The identity occurs once in T! draws: with few frames (for T = 2, every second time) the view is a copy of the clip.
    It is still a true positive for the static factor; use `TemporalReverse` to avoid it.

    >>> shuffle = TemporalShuffle()
    >>> order = shuffle.draw(torch.tensor([3, 4]), frames=8)
    >>> order.sort(dim=1).values[0].tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]
    """

    def draw(self, seeds: Tensor, frames: int) -> Tensor:
        """An order per seed: int64 `[B, T]`; frame t of the view is frame `order[b, t]` of the clip."""
        return permutation(seeds, frames, Purpose.CONTENT)

    def forward(self, x: Tensor, order: Tensor | None = None) -> Tensor:
        """The frames of `x` `[B, T, ...]` in an order int64 `[B, T]`; one from torch's generator if None."""
        return take_frames(x, self.draw(fresh_seeds(x.shape[0]), x.shape[1]) if order is None else order)


class TemporalReverse(nn.Module):
    """Frames in reverse, always.

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


def within(order: Tensor, lengths: Tensor) -> Tensor:
    """An order of padded clips that permutes the frames of each clip and leaves its padding where it is.

    The frames are in the order in which they are in that of the whole; of the views here, this is what the clip's seed
    draws for the clip alone.

    Args:
        order: int64 `[B, T]`.
        lengths: int64 `[B]`, the number of frames of each clip.

    >>> within(torch.tensor([[3, 1, 2, 0], [3, 1, 2, 0]]), torch.tensor([3, 4]))
    tensor([[1, 2, 0, 3],
            [3, 1, 2, 0]])
    """
    frames = torch.arange(order.shape[1], device=order.device)
    padding_last = (order >= lengths[:, None]).to(torch.int8).argsort(dim=1, stable=True)
    return torch.where(frames < lengths[:, None], order.gather(1, padding_last), frames)


def take_frames(x: Tensor, order: Tensor) -> Tensor:
    """Frame `order[b, t]` of `x[b]` at `[b, t]`, for any `[B, T, ...]` with an int64 `[B, S]` order."""
    clips = torch.arange(x.shape[0], device=x.device)[:, None]
    return x[clips, order.to(x.device, non_blocking=True)]
