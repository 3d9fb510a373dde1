"""C-DSVAE with networks, and a source of s, that need fewer clips: ours, not the paper's."""

import torch
from torch import Tensor

from seqviews.model.gaussian import Gaussian
from seqviews.model.layers.clips import FrameShape
from seqviews.model.layers.modulated import ModulatedDecoder
from seqviews.model.layers.pooled import PooledStaticPosterior
from seqviews.model.layers.segments import MelShape
from seqviews.model.methods.cdsvae import CDSVAE
from seqviews.model.ranks import gather

MOMENTUM = 0.01  # share of a batch in the running mean of s


class ModulatedCDSVAE(CDSVAE):
    """C-DSVAE for clips in which several things move, with four differences from the paper's.

    The objective is that of `CDSVAE`, and so are its arguments and ablations. `dsvae`, `all-mws` and `no-content-view`
    take s from the clip itself.

    * s is pooled over frames (`PooledStaticPosterior`) in place of the last states of a bi-LSTM;
    * s modulates the decoder that starts from z (`ModulatedDecoder`) in place of being concatenated with it;
    * the sample of s that is decoded is of the content view, where the method has one, with its KL: with a view such
      as `ShiftedShuffle`, s cannot say where something is;
    * in evaluation mode s is measured from its running mean over training, which a KL of small weight leaves far from
      0: a draw from N(0, I) is then among the posteriors. What is decoded of a posterior does not change; the KL and
      I(s; x) of a validation are those of the centred s.

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
