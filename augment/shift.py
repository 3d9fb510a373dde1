"""A content view that changes the positions of what is shown, and the order of the frames."""

import torch
from torch import Tensor
from torch.nn import functional

from seqviews.augment.draws import Purpose, fresh_seeds, uniform
from seqviews.augment.temporal import TemporalShuffle, take_frames


class ShiftedShuffle(TemporalShuffle):
    """Frames in a random order, each shifted by a random number of pixels, for objects that differ by their shape.

    A clip that is only shuffled keeps the positions of its objects, which belong to the motion. Pixels from outside
    the frame are black.

    Args:
        pixels: The largest shift in each direction; shifts are uniform over the integers from -pixels to pixels.

    Raises:
        ValueError: If pixels is less than 1.

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
        """The shifts of the frames down and to the right, in pixels, for each seed: int64 `[B, T, 2]`."""
        draws = uniform(seeds, 2 * frames, Purpose.SHIFT) * (2 * self.pixels + 1)
        return draws.to(torch.int64).view(-1, frames, 2) - self.pixels

    def change(self, x: Tensor, seeds: Tensor) -> Tensor:
        """The frames of shuffled clips `[B, T, C, H, W]`, shifted by the draws for seeds int64 `[B]`.

        Raises:
            ValueError: As `shift_frames`.
        """
        return shift_frames(x, self.draw_shifts(seeds, x.shape[1]), self.pixels)

    def forward(self, x: Tensor, order: Tensor | None = None, shifts: Tensor | None = None) -> Tensor:
        """The frames of `x` `[B, T, C, H, W]` in an order int64 `[B, T]`, shifted by int64 `[B, T, 2]`.

        No shift exceeds `pixels`. What is None is drawn from torch's generator.

        Raises:
            ValueError: As `shift_frames`.
        """
        seeds = fresh_seeds(x.shape[0])
        order = self.draw(seeds, x.shape[1]) if order is None else order
        shifts = self.draw_shifts(seeds, x.shape[1]) if shifts is None else shifts
        return shift_frames(take_frames(x, order), shifts, self.pixels)


def shift_frames(x: Tensor, shifts: Tensor, pixels: int) -> Tensor:
    """Frames `[B, T, C, H, W]` shifted down and to the right by int64 `[B, T, 2]`, of which none exceeds `pixels`.

    Raises:
        ValueError: If they are not clips, or the largest shift would leave nothing of a frame.

    >>> shift_frames(torch.eye(3).view(1, 1, 1, 3, 3), torch.tensor([[[0, 1]]]), pixels=1).view(3, 3)
    tensor([[0., 1., 0.],
            [0., 0., 1.],
            [0., 0., 0.]])
    """
    if x.ndim != 5:
        raise ValueError(f"frames can be shifted in clips [B, T, C, H, W], not in segments {list(x.shape)}")
    height, width = x.shape[-2:]
    if pixels >= min(height, width):
        raise ValueError(f"pixels is {pixels}, but frames are {height} x {width}: a shift would leave nothing of them")
    padded = functional.pad(x.flatten(0, 1), (pixels, pixels, pixels, pixels))
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    down, right = (pixels - shifts.to(x.device, non_blocking=True)).flatten(0, 1).unbind(1)
    return windows[torch.arange(len(padded), device=x.device), :, down, right].view(x.shape)
