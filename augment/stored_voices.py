"""Motion view of speech: the same words in one of the voices that a segment is stored in [P 2.3]."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqviews.augment.draws import Stream, fresh_seeds, uniform


class StoredVoices(nn.Module):
    """One of the K conversions of each segment, by the record's seed; `VoiceConverter` made them ahead.

    Args:
        voices: K.

    Raises:
        ValueError: If there are none.

    >>> motion = StoredVoices(voices=4)
    >>> choice = motion.draw(torch.tensor([1, 2, 3]))
    >>> motion(torch.zeros(3, 4, 20, 80, dtype=torch.float16), choice).shape
    torch.Size([3, 20, 80])
    """

    def __init__(self, voices: int) -> None:
        super().__init__()
        if voices < 1:
            raise ValueError("StoredVoices: the segments are stored in no other voice: prepare them with --voices")
        self.voices = voices

    def draw(self, seeds: Tensor) -> Tensor:
        """Which voice, for each seed: int64 `[B]`, every one equally likely."""
        return (uniform(seeds, 1, Stream.MOTION)[:, 0] * self.voices).long()

    def forward(self, converted: Tensor, choice: Tensor | None = None) -> Tensor:
        """The segments in the voices of `choice`, or in voices drawn with torch's generator.

        Args:
            converted: `[B, K, T, n_mels]`, as in `Batch.converted`.
            choice: int64 `[B]`, as `draw` gives it.

        Returns:
            float32 `[B, T, n_mels]`.

        Raises:
            ValueError: If there is another number of voices.
        """
        if converted.ndim != 4 or converted.shape[1] != self.voices:
            raise ValueError(
                f"StoredVoices takes [B, {self.voices}, T, n_mels], not {list(converted.shape)}: "
                f"the segments must have been prepared with --voices {self.voices}"
            )
        choice = self.draw(fresh_seeds(len(converted))) if choice is None else choice
        rows = torch.arange(len(converted), device=converted.device)
        return converted[rows, choice.to(converted.device, non_blocking=True)].to(torch.float32)
