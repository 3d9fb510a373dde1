"""CDSVAE: a sequential variational autoencoder of a static and a dynamic latent, trained with contrastive views."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from seqviews.model.gaussian import Gaussian
from seqviews.model.information import info_nce, mws_information
from seqviews.model.layers.clips import (
    ClipDecoder,
    ClipEncoder,
    DynamicPosterior,
    DynamicPrior,
    FrameShape,
    MelShape,
    StaticPosterior,
)
from seqviews.model.layers.segments import SegmentDecoder, SegmentEncoder
from seqviews.model.methods.cdsvae_released import ReleasedNetworks, sizes_of
from seqviews.model.methods.objective import LossTerms, squared_error
from seqviews.model.protocol import Posterior, Views


class Networks(Protocol):
    """The networks of a variant and how they go together: frames to features to latents and back, and the prior."""

    @property
    def encoder(self) -> nn.Module:
        """Frames `[N, *frame_shape]` to features `[N, F]`."""

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        """Frames `[N, *frame_shape]` of latents `[N, S]` and `[N, D]`."""

    def static_posterior(self, features: Tensor) -> Gaussian:
        """q(s given x) `[B, S]` of features `[B, T, F]`."""

    def dynamic_posterior(self, features: Tensor) -> Gaussian:
        """q(z given x) `[B, T, D]` of features `[B, T, F]`."""

    def dynamic_prior(self, z: Tensor) -> Gaussian:
        """p(z_t given z_<t) `[B, T, D]` for each step of a trajectory `[B, T, D]`."""

    def sample_dynamic(self, n: int, length: int, generator: torch.Generator | None = None) -> Tensor:
        """Trajectories `[n, length, D]` from the prior."""


@dataclass(eq=False)
class PaperNetworks:
    """The layout that the paper describes [P C.2]."""

    encoder: ClipEncoder | SegmentEncoder
    decoder: ClipDecoder | SegmentDecoder
    static_posterior: StaticPosterior
    dynamic_posterior: DynamicPosterior
    dynamic_prior: DynamicPrior

    @classmethod
    def build(
        cls,
        frame_shape: FrameShape | MelShape,
        *,
        width: float,
        static_dim: int,
        dynamic_dim: int,
        feature_dim: int,
        hidden_dim: int,
    ) -> PaperNetworks:
        """New networks; the arguments are those of `CDSVAE`."""
        latent_dim = static_dim + dynamic_dim
        encoder: ClipEncoder | SegmentEncoder
        decoder: ClipDecoder | SegmentDecoder
        if len(frame_shape) == 1:
            encoder = SegmentEncoder(*frame_shape, feature_dim, width)
            decoder = SegmentDecoder(*frame_shape, latent_dim, width)
        else:
            encoder = ClipEncoder(frame_shape, feature_dim, width)
            decoder = ClipDecoder(frame_shape, latent_dim, width)
        return cls(
            encoder,
            decoder,
            StaticPosterior(feature_dim, hidden_dim, static_dim),
            DynamicPosterior(feature_dim, hidden_dim, dynamic_dim),
            DynamicPrior(hidden_dim, dynamic_dim),
        )

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        """Frames `[N, *frame_shape]` of latents `[N, S]` and `[N, D]`."""
        return self.decoder(torch.cat([s, z], dim=-1))  # type: ignore[no-any-return]

    def sample_dynamic(self, n: int, length: int, generator: torch.Generator | None = None) -> Tensor:
        """Trajectories `[n, length, D]` from the prior."""
        return self.dynamic_prior.sample(n, length, generator)


class CDSVAE(nn.Module):
    """Contrastively disentangled sequential VAE, for clips and for segments of speech [P 2, C.2].

    Args:
        frame_shape: (C, H, W) of a clip; H = W is 16, 32, 64 (the paper) or 128. Frames of half the side have a stage
            less. (n_mels,) of a segment, whose mels have mean 0 and deviation 1.
        width: Scales the channels of the convolutions; 1 is the paper. For segments, the hidden layers.
        static_dim: Size of s.
        dynamic_dim: Size of z_t.
        feature_dim: Size of a frame's features.
        hidden_dim: Size of each LSTM's state.
        temperature: Of the contrastive estimates [P eq. 8].
        variant: "paper" [P C.2], or "released": the layout of the authors' public code, for H = W = 64. Its weights
            have the names of theirs; `load_released` reads their checkpoints.

    Raises:
        ValueError: If the frames are not square, not of one of these sides, or the width is not positive; if there is
            no such variant, or not for segments.

    Example:
        >>> model = CDSVAE(frame_shape=(1, 16, 16), width=0.125).eval()
        >>> posterior = model.encode(torch.rand(4, 8, 1, 16, 16))
        >>> posterior.static.mean.shape, posterior.dynamic.mean.shape
        (torch.Size([4, 256]), torch.Size([4, 8, 32]))
        >>> model.decode(model.sample_static(4), posterior.dynamic.mean).shape  # same motion, another character
        torch.Size([4, 8, 1, 16, 16])

        >>> speech = CDSVAE(frame_shape=(80,), dynamic_dim=64)
        >>> speech.encode(torch.randn(4, 20, 80)).dynamic.mean.shape
        torch.Size([4, 20, 64])
    """

    def __init__(
        self,
        *,
        frame_shape: FrameShape | MelShape,
        width: float = 1.0,
        static_dim: int = 256,
        dynamic_dim: int = 32,
        feature_dim: int = 128,
        hidden_dim: int = 256,
        temperature: float = 0.5,
        variant: Literal["paper", "released"] = "paper",
    ) -> None:
        super().__init__()
        self.frame_shape = tuple(frame_shape)
        self.static_dim = static_dim
        self.temperature = temperature
        if variant not in _VARIANTS:
            raise ValueError(f"there is no variant {variant} of CDSVAE; the variants are {', '.join(_VARIANTS)}")
        if variant == "released" and len(frame_shape) == 1:
            raise ValueError("the released code has no networks for speech: use variant paper")
        self.networks: Networks = _VARIANTS[variant](
            frame_shape,
            width=width,
            static_dim=static_dim,
            dynamic_dim=dynamic_dim,
            feature_dim=feature_dim,
            hidden_dim=hidden_dim,
        )
        for name, network in vars(self.networks).items():  # registered without a prefix, as the authors' weights are
            self.add_module(name, network)

    def encode(self, x: Tensor) -> Posterior:
        """The posterior of sequences `[B, T, *frame_shape]`: clips in [0, 1], or segments of mean 0 and deviation 1.

        Raises:
            ValueError: If the frames have another shape than the model's.
        """
        features = self._features(x)
        with torch.autocast(x.device.type, enabled=False):
            return Posterior(self.networks.static_posterior(features), self.networks.dynamic_posterior(features))

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        """Sequences `[B, T, *frame_shape]` of static latents `[B, S]` and dynamic latents `[B, T, D]`."""
        static = s[:, None].expand(-1, z.shape[1], -1)
        frames = self.networks.decode(static.flatten(0, 1), z.flatten(0, 1))
        return frames.view(*z.shape[:2], *self.frame_shape)

    def sample_static(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw s from its prior N(0, I): `[n, static_dim]`."""
        like = next(self.parameters()).new_empty(n, self.static_dim)
        return Gaussian.standard(like).rsample(generator)

    def sample_dynamic(self, n: int, length: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw z from its learned prior: `[n, length, dynamic_dim]`."""
        return self.networks.sample_dynamic(n, length, generator)

    def loss(self, views: Views, generator: torch.Generator | None = None) -> LossTerms:
        """The terms of the objective for a batch [P eq. 6 to 8, 13].

        The content view's features are the anchor's, permuted, and of each view only the latent that is compared is
        computed. Everything but the frames' networks runs without autocast: densities need their digits.

        Args:
            views: A batch and its views.
            generator: Draws the samples of s and z; on the model's device; torch's default one if None.

        Raises:
            ValueError: If the frames have another shape than the model's.
        """
        features = self._features(views.anchor)
        with _running_statistics_kept(self.networks.encoder):
            motion_features = self._features(views.motion)
        with torch.autocast(features.device.type, enabled=False):
            content_features = permute_time(features, views.order)
            static, content = self.networks.static_posterior(torch.cat([features, content_features])).chunk(2)
            dynamic, motion = self.networks.dynamic_posterior(torch.cat([features, motion_features])).chunk(2)
            s, z = static.rsample(generator), dynamic.rsample(generator)
            prior = self.networks.dynamic_prior(z)
        reconstruction = self.decode(s, z)
        with torch.autocast(features.device.type, enabled=False):
            mws = mws_information(s, static, z, dynamic)
            return LossTerms(
                reconstruction=squared_error(reconstruction, views.anchor),
                kl_static=static.kl(Gaussian.standard(s)).mean(),
                kl_dynamic=dynamic.kl(prior).sum(1).mean(),
                mi_static=info_nce(static.mean, content.mean, self.temperature),
                mi_dynamic=info_nce(dynamic.mean.flatten(1), motion.mean.flatten(1), self.temperature),
                mws_static=mws.static,
                mws_dynamic=mws.dynamic,
                mi_between=mws.between,
                static_off_diagonal=mws.static_off_diagonal,
                dynamic_off_diagonal=mws.dynamic_off_diagonal,
            )

    def _features(self, x: Tensor) -> Tensor:
        """Features `[B, T, F]` of sequences `[B, T, *frame_shape]`, in the dtype of the sequences."""
        if tuple(x.shape[2:]) != self.frame_shape:
            raise ValueError(f"frames are {list(x.shape[2:])}, the model was built for {list(self.frame_shape)}")
        features: Tensor = self.networks.encoder(x.flatten(0, 1))
        return features.to(x.dtype).view(*x.shape[:2], -1)


_VARIANTS: dict[str, Callable[..., Networks]] = {"paper": PaperNetworks.build, "released": ReleasedNetworks.build}


def load_released(path: Path) -> CDSVAE:
    """The model of a checkpoint `{"model": state_dict}` of the authors' public code, in evaluation mode, on the CPU.

    Raises:
        ValueError: If it holds anything but tensors and plain values, or other weights than those of that layout.
        OSError: If it cannot be read.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path} is not a checkpoint of weights alone: {reason}") from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model"), dict):
        raise ValueError(f'{path} is not a checkpoint of the released code: it holds no "model"')
    try:
        model = CDSVAE(**sizes_of(checkpoint["model"]), variant="released")
        model.load_state_dict(checkpoint["model"])
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is not a checkpoint of the released code: {error}") from error
    return model.eval()


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
