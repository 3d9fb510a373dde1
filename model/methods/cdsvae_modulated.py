"""C-DSVAE with networks, a source of s and a term of swaps that need fewer clips: ours, not the paper's."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from seqviews.model.gaussian import Gaussian
from seqviews.model.information import info_nce
from seqviews.model.layers.clips import FrameShape
from seqviews.model.layers.fixed import fixed
from seqviews.model.layers.modulated import ModulatedDecoder
from seqviews.model.layers.pooled import PooledStaticPosterior
from seqviews.model.layers.segments import MelShape
from seqviews.model.methods.cdsvae import CDSVAE, Ablation
from seqviews.model.protocol import Curve
from seqviews.model.ranks import gather, own_rows

MOMENTUM = 0.01  # share of a batch in the running mean of s
SWAPPED_FRAMES = 5  # of a swap, evenly spaced: s is pooled over frames, and more cost more


class ModulatedCDSVAE(CDSVAE):
    """C-DSVAE for clips in which several things move, with five differences from the paper's.

    The objective is that of `CDSVAE` and a term of swaps, and so are its ablations. `dsvae`, `all-mws` and
    `no-content-view` take s from the clip itself; `dsvae` has no term of swaps.

    * s is pooled over frames (`PooledStaticPosterior`) in place of the last states of a bi-LSTM;
    * s modulates the decoder that starts from z (`ModulatedDecoder`) in place of being concatenated with it;
    * the sample of s that is decoded is of the content view, where the method has one, with its KL: with a view such
      as `ShiftedShuffle`, s cannot say where something is;
    * the s of the record before it in the batch is decoded with z, and some frames of this swap, encoded again, must
      have that s: `swap_static`, I(s; swap) by InfoNCE, whose negative times `beta_swap` is added to the loss. The
      weights that encode it are constants, so that an encoder cannot learn to accept a poor swap;
    * in evaluation mode s is measured from its running mean over training, which a KL of small weight leaves far from
      0: a draw from N(0, I) is then among the posteriors. What is decoded of a posterior does not change; the KL and
      I(s; x) of a validation are those of the centred s.

    Args:
        frame_shape: (C, H, W) of a clip, as of `CDSVAE`, like the arguments that are not listed.
        beta_swap: Weight of the term of swaps; at 0 it is not computed.
        temperature_swap: Of its contrast.

    Raises:
        ValueError: As `CDSVAE`, and for segments of speech.

    Example:
        >>> import torch
        >>> model = ModulatedCDSVAE(frame_shape=(1, 16, 16), width=0.125, static_dim=8).eval()
        >>> clips = torch.rand(4, 8, 1, 16, 16)
        >>> s = model.encode(clips).static.mean
        >>> torch.allclose(s, model.encode(clips.flip(1)).static.mean, atol=1e-5)  # the order has no effect
        True
    """

    curves: ClassVar[Mapping[str, Curve]] = {
        **CDSVAE.curves,
        "swap_static": Curve("I(s; swap)", panel="of swaps about their s, by InfoNCE"),
    }

    def __init__(
        self,
        *,
        frame_shape: FrameShape | MelShape,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 1.0,
        beta_swap: float = 10.0,
        ablation: Ablation = "none",
        width: float = 1.0,
        static_dim: int = 256,
        dynamic_dim: int = 32,
        feature_dim: int = 128,
        hidden_dim: int = 256,
        temperature: float = 0.5,
        temperature_swap: float = 0.2,
    ) -> None:
        super().__init__(
            frame_shape=frame_shape,
            alpha=alpha,
            beta=beta,
            gamma=gamma,
            ablation=ablation,
            width=width,
            static_dim=static_dim,
            dynamic_dim=dynamic_dim,
            feature_dim=feature_dim,
            hidden_dim=hidden_dim,
            temperature=temperature,
        )
        self.beta_swap, self.temperature_swap = beta_swap, temperature_swap

    def _build(self, frame_shape: FrameShape | MelShape, width: float, feature_dim: int, hidden_dim: int) -> None:
        if len(frame_shape) == 1:
            raise ValueError("cdsvae_modulated has networks for clips only: use cdsvae or cdsvae_recordings for speech")
        super()._build(frame_shape, width, feature_dim, hidden_dim)
        self.decoder = ModulatedDecoder(frame_shape, self.static_dim, self.dynamic_dim, width)
        self.static_posterior = PooledStaticPosterior(feature_dim, hidden_dim, self.static_dim)
        self.static_centre: Tensor
        self.register_buffer("static_centre", torch.zeros(self.static_dim))

    def q_static(self, features: Tensor, lengths: Tensor | None = None) -> Gaussian:
        """q(s given x) `[B, S]` of features `[B, T, F]`, in evaluation mode from the running mean."""
        static = super().q_static(features, lengths)
        return static if self.training else Gaussian(static.mean - self.static_centre, static.logvar)

    def decode_frames(self, s: Tensor, z: Tensor) -> Tensor:
        """Frames `[N, *frame_shape]` of latents `[N, S]` and `[N, D]`."""
        return super().decode_frames(s if self.training else s + self.static_centre, z)

    def _decoded_static(self, static: Gaussian, content: Gaussian | None) -> Gaussian:
        """The content view's, the anchor's without one; in training its means enter the running mean."""
        decoded = static if content is None else content
        if self.training:
            self.static_centre.lerp_(gather(decoded.mean.detach()).mean(0), MOMENTUM)
        return decoded

    def _further_terms(self, static: Gaussian, s: Tensor, z: Tensor, lengths: Tensor | None) -> dict[str, Tensor]:
        """`swap_static`, unless the ablation or the weight leaves it out."""
        if self.ablation == "dsvae" or not self.beta_swap:
            return {}
        swaps = self.decode(own_rows(gather(s).roll(1, 0)), evenly_spaced(z, SWAPPED_FRAMES, lengths))
        features = fixed(self.encoder, swaps.flatten(0, 1)).view(*swaps.shape[:2], -1)
        with torch.autocast(z.device.type, enabled=False):
            encoded = fixed(self.static_posterior, features.to(s.dtype))
            others = gather(static.mean).detach().roll(1, 0)
            return {"swap_static": info_nce(gather(encoded.mean), others, self.temperature_swap)}

    def _total(self, terms: Mapping[str, Tensor]) -> Tensor:
        total = super()._total(terms)
        return total - self.beta_swap * terms["swap_static"] if "swap_static" in terms else total


def evenly_spaced(z: Tensor, count: int, lengths: Tensor | None = None) -> Tensor:
    """The first, the last and between them every so many of the frames `[B, T, D]` of each record: `[B, count, D]`.

    >>> evenly_spaced(torch.arange(9.0).view(1, 9, 1), 3).flatten()
    tensor([0., 4., 8.])
    >>> evenly_spaced(torch.arange(9.0).view(1, 9, 1), 3, torch.tensor([7])).flatten()
    tensor([0., 3., 6.])
    """
    last = z.new_full((len(z),), z.shape[1] - 1.0) if lengths is None else lengths.to(z.dtype) - 1
    frames = (torch.linspace(0, 1, count, dtype=z.dtype, device=z.device) * last[:, None]).round().long()
    return z.gather(1, frames[..., None].expand(-1, -1, z.shape[2]))
