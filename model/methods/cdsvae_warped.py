"""C-DSVAE with networks for clips of an object that moves as a whole and in parts, such as a face: ours."""

from torch import Tensor

from seqviews.model.gaussian import Gaussian
from seqviews.model.layers.clips import FrameShape
from seqviews.model.layers.pooled import PooledStaticPosterior
from seqviews.model.layers.segments import MelShape
from seqviews.model.layers.warped import WarpedDecoder
from seqviews.model.methods.cdsvae import CDSVAE, Ablation
from seqviews.model.padding import clear_padding
from seqviews.model.ranks import gather

MOMENTUM = 0.01  # share of a batch in the running mean of s


class WarpedCDSVAE(CDSVAE):
    """C-DSVAE for clips of one object that moves as a whole and in its parts, with four differences from the paper's.

    The objective but for its error, and the ablations, are those of `CDSVAE`.

    * s is decoded to images and z_t to their deformation (`WarpedDecoder`);
    * s is pooled over frames (`PooledStaticPosterior`) in place of the last states of a bi-LSTM;
    * what changes counts `change_weight` times: the error of a clip is T times that of its mean over time plus
      `change_weight` times that of the deviations from this mean. In the plain sum, the appearance, which T
      frames repeat, outweighs the motion;
    * in evaluation mode s is measured from its running mean over training, which a KL of small weight leaves far from
      0: a draw from N(0, I) is then among the posteriors. What is decoded of a posterior does not change; the KL and
      I(s; x) of a validation are those of the centred s.

    Args:
        frame_shape: (C, H, W) of a clip, as of `CDSVAE`, like the arguments that are not listed.
        change_weight: Weight of the error of what changes; at 1 the error is that of `CDSVAE`.

    Raises:
        ValueError: As `CDSVAE`, and for segments of speech.

    Example:
        >>> import torch
        >>> model = WarpedCDSVAE(frame_shape=(3, 16, 16), width=0.125, static_dim=8).eval()
        >>> clips = torch.rand(4, 8, 3, 16, 16)
        >>> s = model.encode(clips).static.mean
        >>> torch.allclose(s, model.encode(clips.flip(1)).static.mean, atol=1e-5)  # the order has no effect
        True
    """

    decoder: WarpedDecoder

    def __init__(
        self,
        *,
        frame_shape: FrameShape | MelShape,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 1.0,
        ablation: Ablation = "none",
        width: float = 1.0,
        static_dim: int = 256,
        dynamic_dim: int = 32,
        feature_dim: int = 128,
        hidden_dim: int = 256,
        temperature: float = 0.5,
        change_weight: float = 10.0,
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
        self.change_weight = change_weight

    def _build(self, frame_shape: FrameShape | MelShape, width: float, feature_dim: int, hidden_dim: int) -> None:
        if len(frame_shape) == 1:
            raise ValueError("cdsvae_warped has networks for clips only: use cdsvae or cdsvae_recordings for speech")
        super()._build(frame_shape, width, feature_dim, hidden_dim)
        self.decoder = WarpedDecoder(frame_shape, self.static_dim, self.dynamic_dim, width)
        self.static_posterior = PooledStaticPosterior(feature_dim, hidden_dim, self.static_dim)
        self.static_centre: Tensor
        self.register_buffer("static_centre", self.static_posterior.head.weight.new_zeros(self.static_dim))

    def q_static(self, features: Tensor, lengths: Tensor | None = None) -> Gaussian:
        """q(s given x) `[B, S]` of features `[B, T, F]`, in evaluation mode from the running mean."""
        static = super().q_static(features, lengths)
        return static if self.training else Gaussian(static.mean - self.static_centre, static.logvar)

    def decode(self, s: Tensor, z: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Sequences `[B, T, *frame_shape]` of latents `[B, S]` and `[B, T, D]`; 0 beyond the lengths."""
        s = s if self.training else s + self.static_centre
        return clear_padding(self.decoder(s, z, lengths), lengths)

    def decode_frames(self, s: Tensor, z: Tensor) -> Tensor:
        """Frames `[N, *frame_shape]` of latents `[N, S]` and `[N, D]`."""
        return self.decode(s, z[:, None])[:, 0]

    def _error(self, decoded: Tensor, anchor: Tensor, lengths: Tensor | None) -> Tensor:
        """The squared error, of what changes `change_weight` times, summed over a sequence, averaged over the batch."""
        error = (decoded - anchor).flatten(2)
        frames = error.shape[1] if lengths is None else lengths
        of_mean = (error.sum(1).square().sum(1) / frames).mean()
        return self.change_weight * error.square().sum((1, 2)).mean() - (self.change_weight - 1) * of_mean

    def _decoded_static(self, static: Gaussian, content: Gaussian | None) -> Gaussian:
        """The anchor's, which the content view's equals in any order; in training its means enter the running mean."""
        if self.training:
            self.static_centre.lerp_(gather(static.mean.detach()).mean(0), MOMENTUM)
        return static
