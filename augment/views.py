"""Views of a batch: the anchor, the same motion in another look, the same content in another order [P 2.3]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from seqviews.augment.temporal import take_frames


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """What a contrastive model is trained on.

    Attributes:
        anchor: float32 `[B, T, C, H, W]` in [0, 1], the clips themselves; of speech, the segments `[B, T, n_mels]`.
        motion: float32, shaped like the anchor: the same motion in another look, the same words in another voice.
        order: int64 `[B, T]`: frame t of the content view is frame `order[b, t]` of the anchor.
    """

    anchor: Tensor
    motion: Tensor
    order: Tensor

    @property
    def content(self) -> Tensor:
        """The content view, like the anchor, gathered on use: a frame encoder can permute its features instead."""
        return take_frames(self.anchor, self.order)


class MotionView(Protocol):
    """A module that keeps the motion and changes the content, with parameters that can be drawn ahead."""

    def draw(self, seeds: Tensor) -> Any:
        """The parameters of one view a seed."""

    def __call__(self, x: Tensor, params: Any) -> Tensor:
        """The view of a batch `[B, T, ...]` under these parameters."""


class ContentView(Protocol):
    """A module that keeps the content and changes the order of the frames."""

    def draw(self, seeds: Tensor, frames: int) -> Tensor:
        """An order int64 `[B, T]` a seed."""


class MultiView(nn.Module):
    """A batch and its two views, drawn from one seed a record.

    Args:
        motion: The motion view, for example `VideoMotion()`, or `StoredVoices(4)` for speech.
        content: The content view, `TemporalShuffle()` or `TemporalReverse()`.
    """

    motion: MotionView
    content: ContentView

    def __init__(self, motion: MotionView, content: ContentView) -> None:
        super().__init__()
        self.motion = motion
        self.content = content

    @torch.no_grad()
    def forward(self, x: Tensor, seeds: Tensor, converted: Tensor | None = None) -> Views:
        """The views of a batch: the same record and seed give the same views in any batch.

        Args:
            x: Clips `[B, T, C, H, W]`, uint8, or float in [0, 1]; on any device, stored channels last if speed counts.
                Or segments `[B, T, n_mels]`, float.
            seeds: int64 `[B]`, as `record_seeds` gives them. Keep them on the CPU: the draws happen where they are.
            converted: The segments in K other voices, `[B, K, T, n_mels]`: if given, the motion view is made from them
                and not from the segments.
        """
        params = self.motion.draw(seeds)
        order = self.content.draw(seeds, x.shape[1])
        anchor = to_unit(x)
        motion = self.motion(anchor if converted is None else converted, params)
        return Views(anchor, motion, order.to(x.device, non_blocking=True))


def to_unit(x: Tensor) -> Tensor:
    """Pixels as float32 in [0, 1], stored in the same order; float32 comes back as it is.

    >>> to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([0.0000, 0.2000, 1.0000])
    """
    return x.to(torch.float32).div_(255) if x.dtype == torch.uint8 else x.to(torch.float32)
