"""CDSVAE: a sequential variational autoencoder of a static and a dynamic latent, trained with contrastive views."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from seqviews.model.gaussian import Gaussian
from seqviews.model.information import info_nce, mws_information
from seqviews.model.networks import ClipDecoder, ClipEncoder, DynamicPosterior, DynamicPrior, StaticPosterior
from seqviews.model.objective import LossTerms, squared_error


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """q(s, z given x): the static and the dynamic latents of a batch [P C.2].

    Attributes:
        static: `[B, static_dim]`.
        dynamic: `[B, T, dynamic_dim]`.
    """

    static: Gaussian
    dynamic: Gaussian


class Views(Protocol):
    """What the loss needs of a batch: the sequences and two views of each [P 2.3]."""

    @property
    def anchor(self) -> Tensor:
        """The sequences themselves, `[B, T, C, H, W]` in [0, 1]."""

    @property
    def motion(self) -> Tensor:
        """Same motion, other content: `[B, T, C, H, W]` in [0, 1]."""

    @property
    def order(self) -> Tensor:
        """Same content: frame t of the content view is frame `order[b, t]` of the anchor; int64 `[B, T]`."""


class CDSVAE(nn.Module):
    """Contrastively disentangled sequential VAE, for clips [P 2, C.2].

    Args:
        frame_shape: (C, H, W); H = W is 16, 32, 64 (the paper) or 128. Frames of half the side have a stage less.
        width: Scales the channels of the convolutions; 1 is the paper.
        static_dim: Size of s.
        dynamic_dim: Size of z_t.
        feature_dim: Size of a frame's features.
        hidden_dim: Size of each LSTM's state.
        temperature: Of the contrastive estimates [P eq. 8].

    Raises:
        ValueError: If the frames are not square, not of one of these sides, or the width is not positive.

    Example:
        >>> model = CDSVAE(frame_shape=(1, 16, 16), width=0.125).eval()
        >>> posterior = model.encode(torch.rand(4, 8, 1, 16, 16))
        >>> posterior.static.mean.shape, posterior.dynamic.mean.shape
        (torch.Size([4, 256]), torch.Size([4, 8, 32]))
        >>> model.decode(model.sample_static(4), posterior.dynamic.mean).shape  # same motion, another character
        torch.Size([4, 8, 1, 16, 16])
    """

    def __init__(
        self,
        *,
        frame_shape: tuple[int, int, int],
        width: float = 1.0,
        static_dim: int = 256,
        dynamic_dim: int = 32,
        feature_dim: int = 128,
        hidden_dim: int = 256,
        temperature: float = 0.5,
    ) -> None:
        super().__init__()
        self.frame_shape = tuple(frame_shape)
        self.static_dim = static_dim
        self.temperature = temperature
        self.encoder = ClipEncoder(frame_shape, feature_dim, width)
        self.decoder = ClipDecoder(frame_shape, static_dim + dynamic_dim, width)
        self.static_posterior = StaticPosterior(feature_dim, hidden_dim, static_dim)
        self.dynamic_posterior = DynamicPosterior(feature_dim, hidden_dim, dynamic_dim)
        self.dynamic_prior = DynamicPrior(hidden_dim, dynamic_dim)

    def encode(self, x: Tensor) -> Posterior:
        """The posterior of sequences `[B, T, C, H, W]` in [0, 1].

        Raises:
            ValueError: If the frames have another shape than the model's.
        """
        features = self._features(x)
        with torch.autocast(x.device.type, enabled=False):
            return Posterior(self.static_posterior(features), self.dynamic_posterior(features))

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        """Sequences `[B, T, C, H, W]` in [0, 1] of static latents `[B, S]` and dynamic latents `[B, T, D]`."""
        latents = torch.cat([s[:, None].expand(-1, z.shape[1], -1), z], dim=-1)
        frames: Tensor = self.decoder(latents.flatten(0, 1))
        return frames.view(*z.shape[:2], *self.frame_shape)

    def sample_static(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw s from its prior N(0, I): `[n, static_dim]`."""
        like = self.dynamic_prior.head.weight.new_empty(n, self.static_dim)
        return Gaussian.standard(like).rsample(generator)

    def sample_dynamic(self, n: int, length: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw z from its learned prior: `[n, length, dynamic_dim]`."""
        return self.dynamic_prior.sample(n, length, generator)

    def loss(self, views: Views, generator: torch.Generator | None = None) -> LossTerms:
        """The terms of the objective for a batch [P eq. 6 to 8, 13].

        The content view's features are the anchor's, permuted, and of each view only the latent that is compared is
        computed. Everything but the convolutions runs without autocast: densities need their digits.

        Args:
            views: A batch and its views.
            generator: Draws the samples of s and z; on the model's device; torch's default one if None.

        Raises:
            ValueError: If the frames have another shape than the model's.
        """
        features = self._features(views.anchor)
        with _running_statistics_kept(self.encoder):
            motion_features = self._features(views.motion)
        with torch.autocast(features.device.type, enabled=False):
            content_features = permute_time(features, views.order)
            static, content = self.static_posterior(torch.cat([features, content_features])).chunk(2)
            dynamic, motion = self.dynamic_posterior(torch.cat([features, motion_features])).chunk(2)
            s, z = static.rsample(generator), dynamic.rsample(generator)
            prior = self.dynamic_prior(z)
        reconstruction = self.decode(s, z)
        with torch.autocast(features.device.type, enabled=False):
            mi_between, off_diagonal = mws_information(s, static, z, dynamic)
            return LossTerms(
                reconstruction=squared_error(reconstruction, views.anchor),
                kl_static=static.kl(Gaussian.standard(s)).mean(),
                kl_dynamic=dynamic.kl(prior).sum(1).mean(),
                mi_static=info_nce(static.mean, content.mean, self.temperature),
                mi_dynamic=info_nce(dynamic.mean.flatten(1), motion.mean.flatten(1), self.temperature),
                mi_between=mi_between,
                mi_between_off_diagonal=off_diagonal,
            )

    def _features(self, x: Tensor) -> Tensor:
        """Features `[B, T, F]` of sequences `[B, T, *frame_shape]`, in the dtype of the sequences."""
        if tuple(x.shape[2:]) != self.frame_shape:
            raise ValueError(f"frames are {list(x.shape[2:])}, the model was built for {list(self.frame_shape)}")
        features: Tensor = self.encoder(x.flatten(0, 1))
        return features.to(x.dtype).view(*x.shape[:2], -1)


def permute_time(features: Tensor, order: Tensor) -> Tensor:
    """Features `[B, T, F]` with frame t replaced by frame `order[b, t]`, int64 `[B, T]`."""
    return features.gather(1, order[..., None].expand_as(features))


@contextmanager
def _running_statistics_kept(module: nn.Module) -> Iterator[None]:
    """Normalise by the batch's statistics without recording them: evaluation then uses those of real clips only."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
