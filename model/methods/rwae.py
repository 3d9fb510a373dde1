"""R-WAE: a recurrent Wasserstein autoencoder of a static and a dynamic latent (Han et al., ICLR 2021)."""

from collections.abc import Mapping
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import softplus

from seqviews.model.discrepancy import mmd
from seqviews.model.gaussian import Gaussian
from seqviews.model.layers.clips import FrameShape
from seqviews.model.layers.discriminators import LatentDiscriminator
from seqviews.model.layers.fixed import fixed
from seqviews.model.layers.segments import MelShape
from seqviews.model.methods.sequential_vae import SequentialVAE
from seqviews.model.protocol import Curve, Loss, Views
from seqviews.model.ranks import gather

Divergence: TypeAlias = Literal["mmd", "gan"]


class RWAE(SequentialVAE):
    """Recurrent Wasserstein autoencoder, for clips and for segments of speech.

    Where DSVAE draws the posterior of every sequence to the prior, this draws the aggregated posterior of a batch.
    Minimises, a sequence,

        reconstruction + beta_static D(Q_s, P_s) + beta_dynamic sum_t D(Q(z_t given z_<t), P(z_t given z_<t)).

    `divergence_dynamic` is the maximum mean discrepancy between the z_t of the batch and draws from the learned prior
    given the same z_<t (`discrepancy.mmd`). `divergence_static` is, by `divergence`, that of s and N(0, I), or
    `-log D(s)` of a discriminator, a player of its own that steps first and is trained on `discriminator_loss`; its
    step does not move the encoder, and the encoder's step does not move it.

    Doubtful: the weights, and the kernel and its widths, of which the paper says little; here it is the kernel of
    Wasserstein autoencoders. On sprites what s and z hold depends on the two weights and sizes, and much weight on the
    prior of z moves the motion to s (docs/methods.md). Posteriors are Gaussian. The paper's weakly supervised
    categorical latent is left out.

    Args:
        frame_shape: (C, H, W) of a clip; H = W is 16, 32, 64 or 128. (n_mels,) of a segment.
        divergence: How s is compared with its prior.
        beta_static: Weight of the divergence of s.
        beta_dynamic: Weight of the divergence of z, summed over time.
        width: Scales the channels of the convolutions, for segments the hidden layers.
        static_dim: Size of s.
        dynamic_dim: Size of z_t.
        feature_dim: Size of a frame's features.
        hidden_dim: Size of each LSTM's state.

    Raises:
        ValueError: As `SequentialVAE`.

    Example:
        >>> model = RWAE(frame_shape=(80,), divergence="gan", width=0.125, static_dim=8)
        >>> model.players
        ('discriminator', 'model')
    """

    curves: ClassVar[Mapping[str, Curve]] = {
        "reconstruction": Curve("reconstruction error"),
        "divergence_static": Curve("divergence of s from its prior", unit=""),
        "divergence_dynamic": Curve("MMD of z from its prior, summed over time", unit=""),
        "discriminator_loss": Curve("loss of the discriminator of s"),
    }

    def __init__(
        self,
        *,
        frame_shape: FrameShape | MelShape,
        divergence: Divergence = "mmd",
        beta_static: float = 1000.0,
        beta_dynamic: float = 1000.0,
        width: float = 1.0,
        static_dim: int = 256,
        dynamic_dim: int = 32,
        feature_dim: int = 128,
        hidden_dim: int = 256,
    ) -> None:
        super().__init__(
            frame_shape=frame_shape,
            width=width,
            static_dim=static_dim,
            dynamic_dim=dynamic_dim,
            feature_dim=feature_dim,
            hidden_dim=hidden_dim,
        )
        self.divergence, self.beta_static, self.beta_dynamic = divergence, beta_static, beta_dynamic
        if divergence == "gan":
            self.players = ("discriminator", "model")
            self.discriminator = LatentDiscriminator(static_dim)

    def loss(self, views: Views, player: str = "model", generator: torch.Generator | None = None) -> Loss:
        """The objective of a player for a batch; the generator, on the model's device, draws all samples.

        Raises:
            ValueError: If the frames have another shape than the model's.
        """
        if player == "discriminator":
            return self._discriminator_loss(views.anchor, generator)
        batch = self.autoencode(views.anchor, generator)
        with torch.autocast(views.anchor.device.type, enabled=False):
            if self.divergence == "gan":
                of_s = softplus(-fixed(self.discriminator, batch.s)).mean()
            else:
                of_s = mmd(gather(batch.s), gather(Gaussian.standard(batch.s).rsample(generator)))
            z, drawn = (gather(x).transpose(0, 1) for x in (batch.z, batch.prior.rsample(generator)))
            terms = {
                "reconstruction": batch.error(),
                "divergence_static": of_s,
                "divergence_dynamic": mmd(z, drawn).sum(),
            }
            total = terms["reconstruction"] + self.beta_static * of_s + self.beta_dynamic * terms["divergence_dynamic"]
            return Loss(total, terms)

    def _discriminator_loss(self, x: Tensor, generator: torch.Generator | None) -> Loss:
        """The cross-entropy of telling s of a batch from s of the prior."""
        with torch.no_grad():
            features = self._features(x, keep_statistics=True)
            with torch.autocast(x.device.type, enabled=False):
                s = self.q_static(features).rsample(generator)
        with torch.autocast(x.device.type, enabled=False):
            drawn = Gaussian.standard(s).rsample(generator)
            loss = softplus(-self.discriminator(drawn)).mean() + softplus(self.discriminator(s)).mean()
            return Loss(loss, {"discriminator_loss": loss})
