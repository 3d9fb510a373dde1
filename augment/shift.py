"""A content view whose frames are moved as well: what is shown stays, where and in which order does not."""

import torch
from torch import Tensor
from torch.nn import functional

from seqviews.augment.draws import Purpose, fresh_seeds, uniform
from seqviews.augment.temporal import TemporalShuffle, take_frames


class ShiftedShuffle(TemporalShuffle):
    """Frames in a random order, each of them moved by up to some pixels, for objects that are told by their shape.

    A shuffled clip has the places of the clip; an encoder can find there what belongs to the motion. What a shift
    brings in from outside the frame is black.

    Args:
        pixels: The largest shift in each direction; every whole number of pixels from -pixels to pixels is as likely.

    Raises:
        ValueError: If there is no pixel to shift by.

    >>> view = ShiftedShuffle(pixels=1)
    >>> view.draw_shifts(torch.tensor([3]), frames=4).tolist()  # down and to the right
    [[[0, 1], [0, 0], [1, -1], [-1, 0]]]
    """

    def __init__(self, pixels: int) -> None:
        super().__init__()
        if pixels < 1:
            raise ValueError(f"pixels is {pixels}; it must be at least 1, TemporalShuffle does not move the frames")
        self.pixels = pixels

    def draw_shifts(self, seeds: Tensor, frames: int) -> Tensor:
        """How far the frames move down and to the right, for each seed: int64 `[B, T, 2]`."""
        draws = uniform(seeds, 2 * frames, Purpose.SHIFT) * (2 * self.pixels + 1)
        return draws.to(torch.int64).view(-1, frames, 2) - self.pixels

    def change(self, x: Tensor, seeds: Tensor) -> Tensor:
        """The frames of a shuffled clip `[B, T, C, H, W]`, moved as the seeds `[B]` say."""
        return shift_frames(x, self.draw_shifts(seeds, x.shape[1]), self.pixels)

    def forward(self, x: Tensor, order: Tensor | None = None, shifts: Tensor | None = None) -> Tensor:
        """The frames of `x` `[B, T, C, H, W]` in an order int64 `[B, T]`, moved by shifts int64 `[B, T, 2]`.

        Those that are None are drawn from torch's generator.
        """
        seeds = fresh_seeds(x.shape[0])
        order = self.draw(seeds, x.shape[1]) if order is None else order
        shifts = self.draw_shifts(seeds, x.shape[1]) if shifts is None else shifts
        return shift_frames(take_frames(x, order), shifts, self.pixels)


def shift_frames(x: Tensor, shifts: Tensor, pixels: int) -> Tensor:
    """Frames `[B, T, C, H, W]` moved down and to the right by shifts `[B, T, 2]` of at most some pixels.

    >>> shift_frames(torch.eye(3).view(1, 1, 1, 3, 3), torch.tensor([[[0, 1]]]), pixels=1).view(3, 3)
    tensor([[0., 1., 0.],
            [0., 0., 1.],
            [0., 0., 0.]])
    """
    height, width = x.shape[-2:]
    padded = functional.pad(x.flatten(0, 1), (pixels, pixels, pixels, pixels))
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    down, right = (pixels - shifts.to(x.device, non_blocking=True)).flatten(0, 1).unbind(1)
    return windows[torch.arange(len(padded), device=x.device), :, down, right].view(x.shape)
