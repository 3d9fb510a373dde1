"""SequentialVAE: a static and a dynamic latent of a sequence, and the networks that DSVAE and its descendants share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from seqviews.model.gaussian import Gaussian
from seqviews.model.layers.clips import ClipDecoder, ClipEncoder, FrameShape
from seqviews.model.layers.recurrent import DynamicPosterior, DynamicPrior, StaticPosterior
from seqviews.model.layers.segments import MelShape, SegmentDecoder, SegmentEncoder
from seqviews.model.padding import clear_padding, join_frames, split_frames
from seqviews.model.protocol import Curve, Method, Posterior, Views


@dataclass(frozen=True, slots=True, eq=False)
class Autoencoded:
    """A batch, autoencoded with a sample of its latents.

    Attributes:
        anchor: The sequences, `[B, T, *frame_shape]`.
        features: Of their frames, `[B, T, F]`.
        static: q(s given x), `[B, S]`.
        dynamic: q(z given x), `[B, T, D]`.
        s: A sample of it, `[B, S]`.
        z: Likewise, `[B, T, D]`.
        prior: p(z_t given z_<t), `[B, T, D]`.
        decoded: The sequences of s and z, shaped like the anchor.
        lengths: int64 `[B]`, of padded sequences: beyond them, z and the decoded are 0 and q(z given x) is N(0, I).
    """

    anchor: Tensor
    features: Tensor
    static: Gaussian
    dynamic: Gaussian
    s: Tensor
    z: Tensor
    prior: Gaussian
    decoded: Tensor
    lengths: Tensor | None = None

    def error(self) -> Tensor:
        """The squared error summed over a sequence, averaged over the batch: a scalar."""
        anchor = clear_padding(self.anchor, self.lengths)
        return functional.mse_loss(self.decoded, anchor, reduction="sum") / len(self.s)

    def elbo_terms(self) -> dict[str, Tensor]:
        """The terms `reconstruction`, `kl_static` and `kl_dynamic` of `SequentialVAE.curves`; scalars."""
        return {
            "reconstruction": self.error(),
            "kl_static": self.static.kl(Gaussian.standard(self.s)).mean(),
            "kl_dynamic": clear_padding(self.dynamic.kl(self.prior), self.lengths).sum(1).mean(),
        }


class SequentialVAE(Method):
    """A variational autoencoder of sequences with latents s and z_1..T, without an objective.

    Frames pass an encoder, for clips or for segments, to features; a bi-LSTM gives q(s given x), a forward LSTM
    q(z_t given x_1..t), another one the prior p(z_t given z_<t); a decoder makes a frame of s and z_t.

    Sequences of a batch may differ in length: with `lengths`, int64 `[B]`, what is beyond them is neither encoded nor
    decoded, so that each has the latents that it has alone.

    Args:
        frame_shape: (C, H, W) of a clip; H = W is 16, 32, 64 or 128. (n_mels,) of a segment.
        width: Scales the channels of the convolutions, for segments the hidden layers.
        static_dim: Size of s.
        dynamic_dim: Size of z_t.
        feature_dim: Size of a frame's features.
        hidden_dim: Size of each LSTM's state.

    Raises:
        ValueError: If the frames are not square, not of one of these sides, or the width is not positive.
    """

    curves: ClassVar[Mapping[str, Curve]] = {
        "reconstruction": Curve("reconstruction error"),
        "kl_static": Curve("KL of s"),
        "kl_dynamic": Curve("KL of z"),
    }

    def __init__(
        self,
        *,
        frame_shape: FrameShape | MelShape,
        width: float = 1.0,
        static_dim: int = 256,
        dynamic_dim: int = 32,
        feature_dim: int = 128,
        hidden_dim: int = 256,
    ) -> None:
        super().__init__()
        self.frame_shape = tuple(frame_shape)
        self.static_dim, self.dynamic_dim = static_dim, dynamic_dim
        self._build(frame_shape, width, feature_dim, hidden_dim)

    def _build(self, frame_shape: FrameShape | MelShape, width: float, feature_dim: int, hidden_dim: int) -> None:
        """The networks, as the C-DSVAE paper describes them [P C.2]."""
        latent_dim = self.static_dim + self.dynamic_dim
        if len(frame_shape) == 1:
            self.encoder: nn.Module = SegmentEncoder(*frame_shape, feature_dim, width)
            self.decoder: nn.Module = SegmentDecoder(*frame_shape, latent_dim, width)
        else:
            self.encoder = ClipEncoder(frame_shape, feature_dim, width)
            self.decoder = ClipDecoder(frame_shape, latent_dim, width)
        self.static_posterior: nn.Module = StaticPosterior(feature_dim, hidden_dim, self.static_dim)
        self.dynamic_posterior = DynamicPosterior(feature_dim, hidden_dim, self.dynamic_dim)
        self.dynamic_prior = DynamicPrior(hidden_dim, self.dynamic_dim)

    def q_static(self, features: Tensor, lengths: Tensor | None = None) -> Gaussian:
        """q(s given x) `[B, S]` of features `[B, T, F]`."""
        static: Gaussian = self.static_posterior(features, lengths)
        return static

    def q_dynamic(self, features: Tensor, lengths: Tensor | None = None) -> Gaussian:
        """q(z given x) `[B, T, D]` of features `[B, T, F]`; N(0, I) beyond the lengths."""
        dynamic: Gaussian = self.dynamic_posterior(features)
        return dynamic.clear_padding(lengths)

    def p_dynamic(self, z: Tensor) -> Gaussian:
        """p(z_t given z_<t) `[B, T, D]` for each step of a trajectory `[B, T, D]`."""
        return self.dynamic_prior(z)  # type: ignore[no-any-return]

    def decode_frames(self, s: Tensor, z: Tensor) -> Tensor:
        """Frames `[N, *frame_shape]` of latents `[N, S]` and `[N, D]`."""
        return self.decoder(torch.cat([s, z], dim=-1))  # type: ignore[no-any-return]

    def encode(self, x: Tensor, lengths: Tensor | None = None) -> Posterior:
        """The posterior of sequences `[B, T, *frame_shape]`: clips in [0, 1], or segments of mean 0 and deviation 1.

        With lengths, int64 `[B]`, what is beyond them is not encoded, and q(z given x) is N(0, I) there.

        Raises:
            ValueError: If the frames have another shape than the model's.
        """
        features = self._features(x, lengths)
        with torch.autocast(x.device.type, enabled=False):
            return Posterior(self.q_static(features, lengths), self.q_dynamic(features, lengths))

    def decode(self, s: Tensor, z: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Sequences `[B, T, *frame_shape]` of static latents `[B, S]` and dynamic latents `[B, T, D]`.

        They are 0 beyond the lengths int64 `[B]`, if these are given.
        """
        static = s[:, None].expand(-1, z.shape[1], -1)
        frames = self.decode_frames(join_frames(static, lengths), join_frames(z, lengths))
        return split_frames(frames, z.shape[:2], lengths)

    def sample_static(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws s from its prior N(0, I): `[n, static_dim]`."""
        return Gaussian.standard(next(self.parameters()).new_empty(n, self.static_dim)).rsample(generator)

    def sample_dynamic(self, n: int, length: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws z from its learned prior: `[n, length, dynamic_dim]`."""
        return self.dynamic_prior.sample(n, length, generator)

    def autoencode(
        self, x: Tensor, generator: torch.Generator | None = None, lengths: Tensor | None = None
    ) -> Autoencoded:
        """Encode sequences `[B, T, *frame_shape]`, of these lengths int64 `[B]`, sample their latents and decode them.

        All but the frames' networks runs without autocast, as densities need float32. The generator, on the model's
        device, draws the samples; torch's default one if None.

        Raises:
            ValueError: As `encode`.
        """
        features = self._features(x, lengths)
        with torch.autocast(x.device.type, enabled=False):
            static, dynamic = self.q_static(features, lengths), self.q_dynamic(features, lengths)
            s, z = static.rsample(generator), clear_padding(dynamic.rsample(generator), lengths)
            prior = self.p_dynamic(z)
        return Autoencoded(x, features, static, dynamic, s, z, prior, self.decode(s, z, lengths), lengths)

    def content_features(self, views: Views, features: Tensor) -> Tensor | None:
        """Features `[B, T, F]` of the content view, the anchor's, permuted; None without one."""
        return None if views.order is None else features.gather(1, views.order[..., None].expand_as(features))

    def _features(self, x: Tensor, lengths: Tensor | None = None, *, keep_statistics: bool = False) -> Tensor:
        """Features `[B, T, F]` of sequences `[B, T, *frame_shape]`, in their dtype; 0 beyond the lengths.

        With `keep_statistics` the running statistics of batch norm stay, so that evaluation uses those of anchors only.
        """
        if tuple(x.shape[2:]) != self.frame_shape:
            raise ValueError(f"frames are {list(x.shape[2:])}, the model was built for {list(self.frame_shape)}")
        frames = join_frames(x, lengths)
        if keep_statistics:
            buffers = {name: buffer.clone() for name, buffer in self.encoder.named_buffers()}
            features: Tensor = functional_call(self.encoder, buffers, (frames,))
        else:
            features = self.encoder(frames)
        return split_frames(features.to(x.dtype), x.shape[:2], lengths)


def both(
    posterior: Callable[[Tensor, Tensor | None], Gaussian],
    features: Tensor,
    view: Tensor | None,
    lengths: Tensor | None = None,
) -> tuple[Gaussian, Gaussian | None]:
    """The posterior of a batch of these lengths, and of its view if there is one, in one call."""
    if view is None:
        return posterior(features, lengths), None
    of_both = None if lengths is None else torch.cat([lengths, lengths])
    batch, of_view = posterior(torch.cat([features, view]), of_both).chunk(2)
    return batch, of_view
