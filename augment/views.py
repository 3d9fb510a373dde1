"""Views of a batch: the anchor, the same motion with other content, the same content in another order [P 2.3]."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from seqviews.augment.draws import Purpose, random_bits
from seqviews.augment.temporal import take_frames, within


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """The input of a method; a view that the method does not need is None.

    Attributes:
        anchor: float32 `[B, T, C, H, W]` in [0, 1], the clips themselves, or these augmented; for speech, the segments
            `[B, T, n_mels]`.
        motion: float32, the shape of the anchor: the same motion with other content, the same words in another voice.
        order: int64 `[B, T]`: frame t of the content view is frame `order[b, t]` of the anchor.
        labels: Tensors `[B, ...]` by name that the method needs besides the views, for example factors.
        lengths: int64 `[B]`, where records differ in length: the number of frames of each, beyond which anchor and
            motion are padding and the order leaves it where it is. None if nothing is padded.
    """

    anchor: Tensor
    motion: Tensor | None = None
    order: Tensor | None = None
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    lengths: Tensor | None = None

    @property
    def content(self) -> Tensor:
        """The content view, the shape of the anchor, gathered on use: a frame encoder can permute its features instead.

        Raises:
            ValueError: If there is no order.
        """
        if self.order is None:
            raise ValueError("there is no content view: create MultiView with content=TemporalShuffle(), for example")
        return take_frames(self.anchor, self.order)


class MotionView(Protocol):
    """A module that keeps the motion and changes the content, with parameters that can be drawn in advance."""

    def draw(self, seeds: Tensor) -> Any:
        """The parameters of one view per seed."""

    def __call__(self, x: Tensor, params: Any) -> Tensor:
        """The view of a batch `[B, T, ...]` under these parameters."""


class ContentView(Protocol):
    """A module that keeps the content and changes the order of the frames."""

    def draw(self, seeds: Tensor, frames: int) -> Tensor:
        """An order int64 `[B, T]`, one row per seed."""


class MultiView(nn.Module):
    """A batch and its views, drawn from one seed per record.

    Args:
        motion: The motion view, for example `VideoMotion()`, or `StoredVoices(4)` for speech; None computes none.
        content: The content view, `TemporalShuffle()` or `TemporalReverse()`; None computes none.
        anchor: Augments the clips themselves in training mode, before the views are computed from them, so that a
            method sees more than the people or things that a small data set has. Its draws are independent of those of
            `motion`, even where both are of one class.
    """

    motion: MotionView | None
    content: ContentView | None
    anchor: MotionView | None

    def __init__(
        self,
        motion: MotionView | None = None,
        content: ContentView | None = None,
        anchor: MotionView | None = None,
    ) -> None:
        super().__init__()
        self.motion, self.content, self.anchor = motion, content, anchor

    @torch.no_grad()
    def forward(
        self, x: Tensor, seeds: Tensor, converted: Tensor | None = None, lengths: Tensor | None = None
    ) -> Views:
        """The views of a batch: the same record and seed give the same views in any batch.

        Args:
            x: Clips `[B, T, C, H, W]`, uint8, or float in [0, 1]; on any device, fastest if stored channels last. Or
                segments `[B, T, n_mels]`, float.
            seeds: int64 `[B]`, from `record_seeds`. Keep them on the CPU: the draws happen on their device.
            converted: The segments in K other voices, `[B, K, T, n_mels]`: if given, the input of the motion view
                instead of the segments. It is not augmented with them.
            lengths: int64 `[B]`, as in `Batch.lengths`, on the device of x; None if nothing is padded.
        """
        anchor = to_unit(x)
        if self.anchor is not None and self.training:
            anchor = self.anchor(anchor, self.anchor.draw(random_bits(seeds, 1, Purpose.ANCHOR)[:, 0]))
        motion = order = None
        if self.motion is not None:
            motion = self.motion(anchor if converted is None else converted, self.motion.draw(seeds))
        if self.content is not None:
            order = self.content.draw(seeds, x.shape[1]).to(x.device, non_blocking=True)
            order = order if lengths is None else within(order, lengths)
        return Views(anchor, motion, order, lengths=lengths)


def to_unit(x: Tensor) -> Tensor:
    """Pixels as float32 in [0, 1] in the same memory format; float32 is returned unchanged.

    >>> to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([0.0000, 0.2000, 1.0000])
    """
    return x.to(torch.float32).div_(255) if x.dtype == torch.uint8 else x.to(torch.float32)
