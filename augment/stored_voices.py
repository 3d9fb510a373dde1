"""Motion view of speech: the same words in a stored other voice [P 2.3], optionally by another microphone."""

import math

import torch
from torch import Tensor, nn

from seqviews.augment.draws import Purpose, fresh_seeds, uniform

Params = dict[str, Tensor]

COSINES = 4  # gain, tilt and two bends: the part of a microphone or room that is the same in all frames


class StoredVoices(nn.Module):
    """One of the K conversions of each segment, chosen by the record's seed; `VoiceConverter` computed them ahead.

    A conversion keeps the loudness and the channel of the recording. With `channel`, the view simulates another
    microphone as well: a sum of four cosines over the mels is added to every frame.

    Args:
        voices: K.
        channel: The weight of each cosine is drawn from -channel to channel, in the unit of the segments: standard
            deviations of a mel when this project trains, else nats. 0 leaves the conversion unchanged.

    Raises:
        ValueError: If K is 0, or the channel is negative or not finite.

    >>> motion = StoredVoices(voices=4, channel=0.5)
    >>> params = motion.draw(torch.tensor([1, 2, 3]))
    >>> motion(torch.zeros(3, 4, 20, 80, dtype=torch.float16), params).shape
    torch.Size([3, 20, 80])
    """

    def __init__(self, voices: int, channel: float = 0.0) -> None:
        super().__init__()
        if voices < 1:
            raise ValueError("StoredVoices: the segments have no other voices: prepare them with --voices")
        if not 0 <= channel < math.inf:
            raise ValueError(f"StoredVoices: channel is {channel}, not a finite number >= 0")
        self.voices, self.channel = voices, channel

    def draw(self, seeds: Tensor) -> Params:
        """One set of parameters per seed: `voice`, int64 `[B]`, equally likely, and `channel` `[B, 4]`."""
        draws = uniform(seeds, 1 + COSINES, Purpose.MOTION)
        return {"voice": (draws[:, 0] * self.voices).long(), "channel": self.channel * (2 * draws[:, 1:] - 1)}

    def forward(self, converted: Tensor, params: Params | None = None) -> Tensor:
        """The views, float32 `[B, T, n_mels]`, of `Batch.converted`, `[B, K, T, n_mels]`.

        Args:
            converted: Each segment in K other voices.
            params: From `draw`; drawn from torch's generator if None.

        Raises:
            ValueError: If the number of voices is not K.
        """
        if converted.ndim != 4 or converted.shape[1] != self.voices:
            raise ValueError(
                f"StoredVoices takes [B, {self.voices}, T, n_mels], not {list(converted.shape)}: "
                f"the segments must have been prepared with --voices {self.voices}"
            )
        params = self.draw(fresh_seeds(len(converted))) if params is None else params
        voice, channel = (params[name].to(converted.device, non_blocking=True) for name in ("voice", "channel"))
        rows = torch.arange(len(converted), device=converted.device)
        n_mels = converted.shape[-1]
        order = torch.arange(COSINES, device=converted.device)[:, None]
        cosines = torch.cos(math.pi * order * (torch.arange(n_mels, device=converted.device) + 0.5) / n_mels)
        return converted[rows, voice].to(torch.float32) + (channel @ cosines)[:, None]
