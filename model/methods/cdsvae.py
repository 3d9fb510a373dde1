"""C-DSVAE: a sequential variational autoencoder of a static and a dynamic latent, with contrastive views [P]."""

from collections.abc import Callable, Mapping
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from seqviews.model.gaussian import Gaussian
from seqviews.model.information import info_nce, mws_information
from seqviews.model.layers.clips import ClipDecoder, ClipEncoder, FrameShape
from seqviews.model.layers.recurrent import DynamicPosterior, DynamicPrior, StaticPosterior
from seqviews.model.layers.segments import MelShape, SegmentDecoder, SegmentEncoder
from seqviews.model.protocol import Curve, Loss, Method, Posterior, Views
from seqviews.model.ranks import gather

Ablation: TypeAlias = Literal["none", "no-motion-view", "no-content-view", "all-mws", "dsvae"]
NEEDS: dict[Ablation, frozenset[str]] = {
    "none": frozenset({"motion", "content"}),
    "no-motion-view": frozenset({"content"}),
    "no-content-view": frozenset({"motion"}),
    **dict.fromkeys(("all-mws", "dsvae"), frozenset[str]()),
}
INFO_NCE, WEIGHTED, BETWEEN = "by InfoNCE", "by minibatch weighted sampling", "about each other, weighted sampling"


class CDSVAE(Method):
    """Contrastively disentangled sequential VAE, for clips and for segments of speech [P 2, C.2].

    Minimises, in nats a sequence [P eq. 6 to 8, 13],

        reconstruction + alpha (KL_s + KL_z) - beta (I(s; x) + I(z; x)) + gamma I(s; z).

    The logged terms are `reconstruction`, the squared error summed over the sequence (a Gaussian of variance 1/2
    without its constant); `kl_static`; `kl_dynamic`, the sum over t of KL[q(z_t given x) || p(z_t given z_<t)] with
    z_<t sampled; `mi_static` and `mi_dynamic`, I(s; x) and I(z; x) between the anchor and its content or motion view by
    InfoNCE; `mws_static`, `mws_dynamic` and `mi_between`, I(s; x), I(z; x) and I(s; z) by minibatch weighted sampling;
    and `static_off_diagonal` and `dynamic_off_diagonal`, which tell where those are saturated.

    Args:
        frame_shape: (C, H, W) of a clip; H = W is 16, 32, 64 (the paper) or 128. Frames of half the side have a stage
            less. (n_mels,) of a segment, whose mels have mean 0 and deviation 1.
        alpha: Weight of the two KL terms.
        beta: Weight of the information that the latents have about the sequence.
        gamma: Weight of the information that the latents have about each other; at 0 it is logged only.
        ablation: What is left out: "no-motion-view" I(z; x), "no-content-view" I(s; x), "dsvae" all information;
            "all-mws" estimates I(s; x) and I(z; x) by minibatch weighted sampling, without views.
        width: Scales the channels of the convolutions; 1 is the paper. For segments, the hidden layers.
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

        >>> speech = CDSVAE(frame_shape=(80,), dynamic_dim=64)
        >>> speech.encode(torch.randn(4, 20, 80)).dynamic.mean.shape
        torch.Size([4, 20, 64])
    """

    curves: ClassVar[Mapping[str, Curve]] = {
        "reconstruction": Curve("reconstruction error"),
        "kl_static": Curve("KL of s"),
        "kl_dynamic": Curve("KL of z"),
        "mi_static": Curve("I(s; x)", panel=INFO_NCE),
        "mi_dynamic": Curve("I(z; x)", panel=INFO_NCE),
        "mws_static": Curve("I(s; x)", panel=WEIGHTED, saturation=("static_off_diagonal",)),
        "mws_dynamic": Curve("I(z; x)", panel=WEIGHTED, saturation=("dynamic_off_diagonal",)),
        "mi_between": Curve("I(s; z)", panel=BETWEEN, saturation=("static_off_diagonal", "dynamic_off_diagonal")),
        "static_off_diagonal": Curve("off-diagonal weight of s", unit=""),
        "dynamic_off_diagonal": Curve("off-diagonal weight of z", unit=""),
    }

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
    ) -> None:
        super().__init__()
        self.frame_shape = tuple(frame_shape)
        self.alpha, self.beta, self.gamma, self.ablation = alpha, beta, gamma, ablation
        self.needs = NEEDS[ablation]
        self.static_dim, self.dynamic_dim, self.temperature = static_dim, dynamic_dim, temperature
        self._build(frame_shape, width, feature_dim, hidden_dim)

    def _build(self, frame_shape: FrameShape | MelShape, width: float, feature_dim: int, hidden_dim: int) -> None:
        """The networks, as the paper describes them [P C.2]."""
        latent_dim = self.static_dim + self.dynamic_dim
        if len(frame_shape) == 1:
            self.encoder: nn.Module = SegmentEncoder(*frame_shape, feature_dim, width)
            self.decoder: nn.Module = SegmentDecoder(*frame_shape, latent_dim, width)
        else:
            self.encoder = ClipEncoder(frame_shape, feature_dim, width)
            self.decoder = ClipDecoder(frame_shape, latent_dim, width)
        self.static_posterior = StaticPosterior(feature_dim, hidden_dim, self.static_dim)
        self.dynamic_posterior = DynamicPosterior(feature_dim, hidden_dim, self.dynamic_dim)
        self.dynamic_prior = DynamicPrior(hidden_dim, self.dynamic_dim)

    def q_static(self, features: Tensor) -> Gaussian:
        """q(s given x) `[B, S]` of features `[B, T, F]`."""
        return self.static_posterior(features)  # type: ignore[no-any-return]

    def q_dynamic(self, features: Tensor) -> Gaussian:
        """q(z given x) `[B, T, D]` of features `[B, T, F]`."""
        return self.dynamic_posterior(features)  # type: ignore[no-any-return]

    def p_dynamic(self, z: Tensor) -> Gaussian:
        """p(z_t given z_<t) `[B, T, D]` for each step of a trajectory `[B, T, D]`."""
        return self.dynamic_prior(z)  # type: ignore[no-any-return]

    def decode_frames(self, s: Tensor, z: Tensor) -> Tensor:
        """Frames `[N, *frame_shape]` of latents `[N, S]` and `[N, D]`."""
        return self.decoder(torch.cat([s, z], dim=-1))  # type: ignore[no-any-return]

    def encode(self, x: Tensor) -> Posterior:
        """The posterior of sequences `[B, T, *frame_shape]`: clips in [0, 1], or segments of mean 0 and deviation 1.

        Raises:
            ValueError: If the frames have another shape than the model's.
        """
        features = self._features(x)
        with torch.autocast(x.device.type, enabled=False):
            return Posterior(self.q_static(features), self.q_dynamic(features))

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        """Sequences `[B, T, *frame_shape]` of static latents `[B, S]` and dynamic latents `[B, T, D]`."""
        static = s[:, None].expand(-1, z.shape[1], -1)
        frames = self.decode_frames(static.flatten(0, 1), z.flatten(0, 1))
        return frames.view(*z.shape[:2], *self.frame_shape)

    def sample_static(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws s from its prior N(0, I): `[n, static_dim]`."""
        return Gaussian.standard(next(self.parameters()).new_empty(n, self.static_dim)).rsample(generator)

    def sample_dynamic(self, n: int, length: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws z from its learned prior: `[n, length, dynamic_dim]`."""
        return self.dynamic_prior.sample(n, length, generator)

    def loss(self, views: Views, player: str = "model", generator: torch.Generator | None = None) -> Loss:
        """The objective for a batch.

        The content view's features are the anchor's, permuted, and of each view only the latent that is compared is
        computed. Everything but the frames' networks runs without autocast, as densities need float32. The generator,
        on the model's device, draws the samples of s and z; torch's default one if None.

        Raises:
            ValueError: If the frames have another shape than the model's, or a view that is needed is missing.
        """
        features = self._features(views.anchor)
        motion_features, content_features = self._view_features(views, features)
        with torch.autocast(features.device.type, enabled=False):
            static, content = both(self.q_static, features, content_features)
            dynamic, motion = both(self.q_dynamic, features, motion_features)
            s, z = static.rsample(generator), dynamic.rsample(generator)
            prior = self.p_dynamic(z)
        reconstruction = self.decode(s, z)
        with torch.autocast(features.device.type, enabled=False):
            with torch.set_grad_enabled(torch.is_grad_enabled() and self._uses_weighted_sampling):
                mws = mws_information(gather(s), static.gather(), gather(z), dynamic.gather())
            terms = {
                "reconstruction": functional.mse_loss(reconstruction, views.anchor, reduction="sum") / len(s),
                "kl_static": static.kl(Gaussian.standard(s)).mean(),
                "kl_dynamic": dynamic.kl(prior).sum(1).mean(),
            }
            if content is not None:
                terms["mi_static"] = self._contrast(static.mean, content.mean)
            if motion is not None:
                terms["mi_dynamic"] = self._contrast(dynamic.mean.flatten(1), motion.mean.flatten(1))
            terms |= {"mws_static": mws.static, "mws_dynamic": mws.dynamic, "mi_between": mws.between}
            terms |= {"static_off_diagonal": mws.static_off_diagonal, "dynamic_off_diagonal": mws.dynamic_off_diagonal}
            return Loss(self._total(terms), terms)

    def _view_features(self, views: Views, features: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Features of the motion and of the content view, if they are needed."""
        given = {"motion": views.motion, "content": views.order}
        for name in self.needs & given.keys():
            if given[name] is None:
                raise ValueError(f"the loss needs the {name} view, which the batch does not have")
        motion = content = None
        if "motion" in self.needs and views.motion is not None:
            motion = self._features(views.motion, keep_statistics=True)
        if "content" in self.needs and views.order is not None:
            content = features.gather(1, views.order[..., None].expand_as(features))
        return motion, content

    def _contrast(self, anchor: Tensor, positive: Tensor) -> Tensor:
        return info_nce(gather(anchor), gather(positive), self.temperature)

    @property
    def _uses_weighted_sampling(self) -> bool:
        return self.ablation != "dsvae" and (self.gamma != 0 or self.ablation == "all-mws")

    def _total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The negative of [P eq. 6], or of what an ablation leaves of it."""
        total = terms["reconstruction"] + self.alpha * (terms["kl_static"] + terms["kl_dynamic"])
        if self.ablation == "dsvae":
            return total
        names = ("mws_static", "mws_dynamic") if self.ablation == "all-mws" else ("mi_static", "mi_dynamic")
        total = total - self.beta * sum(terms[name] for name in names if name in terms)
        return total + self.gamma * terms["mi_between"] if self.gamma else total

    def _features(self, x: Tensor, *, keep_statistics: bool = False) -> Tensor:
        """Features `[B, T, F]` of sequences `[B, T, *frame_shape]`, in the dtype of the sequences.

        With `keep_statistics` the running statistics of batch norm stay, so that evaluation uses those of anchors only.
        """
        if tuple(x.shape[2:]) != self.frame_shape:
            raise ValueError(f"frames are {list(x.shape[2:])}, the model was built for {list(self.frame_shape)}")
        frames = x.flatten(0, 1)
        if keep_statistics:
            buffers = {name: buffer.clone() for name, buffer in self.encoder.named_buffers()}
            features: Tensor = functional_call(self.encoder, buffers, (frames,))
        else:
            features = self.encoder(frames)
        return features.to(x.dtype).view(*x.shape[:2], -1)


def both(
    posterior: Callable[[Tensor], Gaussian], features: Tensor, view: Tensor | None
) -> tuple[Gaussian, Gaussian | None]:
    """The posterior of a batch, and of its view if there is one, in one call."""
    if view is None:
        return posterior(features), None
    batch, of_view = posterior(torch.cat([features, view])).chunk(2)
    return batch, of_view
