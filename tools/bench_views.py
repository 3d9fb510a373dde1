"""The motion view of clips, ours and its peers', ready to be called."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import kornia.augmentation as K
import torch

from seqviews.augment.draws import record_seeds
from seqviews.augment.video import VideoMotion


def view_sides(
    shape: tuple[int, int, int], device: str = "cpu", dtype: torch.dtype = torch.float32
) -> dict[str, Callable[[], Any]]:
    """Crop, colour and blur of random clips, draws included, each side with its best settings.

    Args:
        shape: Clips, frames, and height and width.
        device: Where the clips are.
        dtype: Of the clips.

    Returns:
        `ours`, `kornia`, and `torchvision` if it is installed, which is called clip by clip: its draws are for a batch.
    """
    batch, frames, size = shape
    motion = VideoMotion()
    peer = K.VideoSequential(
        K.RandomResizedCrop((size, size), scale=(0.8, 1.0), ratio=(0.9, 1.1)),
        K.ColorJiggle(0.4, 0.4, 0.4, 0.5, p=1.0),
        K.RandomGaussianBlur((7, 7), (0.1, 1.0), p=1.0),
        data_format="BTCHW",
        same_on_frame=True,
    )
    x = torch.rand(batch, frames, 3, size, size, device=device, dtype=dtype)
    channels_last = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    seeds = record_seeds(0, 0, torch.arange(batch))
    sides = {"ours": lambda: motion(channels_last, motion.draw(seeds)), "kornia": lambda: peer(x)}
    if find_spec("torchvision"):  # not a dependency: it replaces torch
        from torchvision.transforms import v2

        views = [
            v2.RandomResizedCrop(size, (0.8, 1.0)),
            v2.ColorJitter(0.4, 0.4, 0.4, 0.5),
            v2.GaussianBlur(7, (0.1, 1.0)),
        ]
        sides["torchvision"] = lambda: [v2.Compose(views)(clip) for clip in x]
    return {name: torch.no_grad()(side) for name, side in sides.items()}
