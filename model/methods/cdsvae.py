"""C-DSVAE: a sequential variational autoencoder of a static and a dynamic latent, with contrastive views [P]."""

from collections.abc import Mapping
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from seqviews.model.gaussian import Gaussian
from seqviews.model.information import info_nce, mws_information
from seqviews.model.layers.clips import FrameShape
from seqviews.model.layers.segments import MelShape
from seqviews.model.methods.sequential_vae import SequentialVAE, both
from seqviews.model.padding import clear_padding
from seqviews.model.protocol import Curve, Loss, Views
from seqviews.model.ranks import gather

Ablation: TypeAlias = Literal["none", "no-motion-view", "no-content-view", "all-mws", "dsvae"]
NEEDS: dict[Ablation, frozenset[str]] = {
    "none": frozenset({"motion", "content"}),
    "no-motion-view": frozenset({"content"}),
    "no-content-view": frozenset({"motion"}),
    **dict.fromkeys(("all-mws", "dsvae"), frozenset[str]()),
}
INFO_NCE, WEIGHTED, BETWEEN = "by InfoNCE", "by minibatch weighted sampling", "about each other, weighted sampling"


class CDSVAE(SequentialVAE):
    """Contrastively disentangled sequential VAE, for clips and for segments of speech [P 2, C.2].

    Minimises, in nats a sequence [P eq. 6 to 8, 13],

        reconstruction + alpha (KL_s + KL_z) - beta (I(s; x) + I(z; x)) + gamma I(s; z).

    The logged terms are `reconstruction`, the squared error summed over the sequence (a Gaussian of variance 1/2
    without its constant); `kl_static`; `kl_dynamic`, the sum over t of KL[q(z_t given x) || p(z_t given z_<t)] with
    z_<t sampled; `mi_static` and `mi_dynamic`, I(s; x) and I(z; x) between the anchor and its content or motion view by
    InfoNCE; `mws_static`, `mws_dynamic` and `mi_between`, I(s; x), I(z; x) and I(s; z) by minibatch weighted sampling;
    and `static_off_diagonal` and `dynamic_off_diagonal`, which tell where those are saturated.

    Of sequences that differ in length, the sums over a sequence are over its own frames. Trajectories are compared
    padded: by InfoNCE with 0, by minibatch weighted sampling as `mws_information` describes.

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

    takes_lengths: ClassVar[bool] = True
    curves: ClassVar[Mapping[str, Curve]] = {
        **SequentialVAE.curves,
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
        super().__init__(
            frame_shape=frame_shape,
            width=width,
            static_dim=static_dim,
            dynamic_dim=dynamic_dim,
            feature_dim=feature_dim,
            hidden_dim=hidden_dim,
        )
        self.alpha, self.beta, self.gamma, self.ablation = alpha, beta, gamma, ablation
        self.needs = NEEDS[ablation]
        self.temperature = temperature

    def loss(self, views: Views, player: str = "model", generator: torch.Generator | None = None) -> Loss:
        """The objective for a batch.

        The content view's features are the anchor's, permuted; of each view only the latent that is compared is
        computed. Everything but the frames' networks runs without autocast, as densities need float32. The generator,
        on the model's device, draws the samples of s and z; torch's default one if None.

        Raises:
            ValueError: If the frames have another shape than the model's, or a view that is needed is missing.
        """
        lengths = views.lengths
        features = self._features(views.anchor, lengths)
        motion_features, content_features = self._view_features(views, features)
        with torch.autocast(features.device.type, enabled=False):
            static, content = both(self.q_static, features, content_features, lengths)
            dynamic, motion = both(self.q_dynamic, features, motion_features, lengths)
            decoded_static = self._decoded_static(static, content)
            s, z = decoded_static.rsample(generator), clear_padding(dynamic.rsample(generator), lengths)
            prior = self.p_dynamic(z)
        decoded = self.decode(s, z, lengths)
        with torch.autocast(features.device.type, enabled=False):
            with torch.set_grad_enabled(torch.is_grad_enabled() and self._uses_weighted_sampling):
                mws = mws_information(gather(s), decoded_static.gather(), gather(z), dynamic.gather(), lengths)
            terms = {
                "reconstruction": self._error(decoded, clear_padding(views.anchor, lengths), lengths),
                "kl_static": decoded_static.kl(Gaussian.standard(s)).mean(),
                "kl_dynamic": clear_padding(dynamic.kl(prior), lengths).sum(1).mean(),
            }
            if content is not None:
                terms["mi_static"] = self._contrast(static.mean, content.mean)
            if motion is not None:
                terms["mi_dynamic"] = self._contrast(dynamic.mean.flatten(1), motion.mean.flatten(1))
            terms |= {"mws_static": mws.static, "mws_dynamic": mws.dynamic, "mi_between": mws.between}
            terms |= {"static_off_diagonal": mws.static_off_diagonal, "dynamic_off_diagonal": mws.dynamic_off_diagonal}
            return Loss(self._total(terms), terms)

    def _error(self, decoded: Tensor, anchor: Tensor, lengths: Tensor | None) -> Tensor:
        """The squared error summed over a sequence, averaged over the batch; both are 0 beyond the lengths."""
        return functional.mse_loss(decoded, anchor, reduction="sum") / len(decoded)

    def _decoded_static(self, static: Gaussian, content: Gaussian | None) -> Gaussian:
        """Of which of the posteriors of s, of the anchor and of the content view, a sample is decoded."""
        return static

    def _view_features(self, views: Views, features: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Features of the motion and of the content view, if they are needed."""
        given = {"motion": views.motion, "content": views.order}
        for name in self.needs & given.keys():
            if given[name] is None:
                raise ValueError(f"the loss needs the {name} view, which the batch does not have")
        motion = content = None
        if "motion" in self.needs and views.motion is not None:
            motion = self._features(views.motion, views.lengths, keep_statistics=True)
        if "content" in self.needs:
            content = self.content_features(views, features)
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
