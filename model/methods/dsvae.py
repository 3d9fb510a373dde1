"""DSVAE: a sequential variational autoencoder of a static and a dynamic latent (Li and Mandt, ICML 2018)."""

from typing import ClassVar

import torch
from torch import Tensor

from seqviews.model.layers.clips import FrameShape
from seqviews.model.layers.segments import MelShape
from seqviews.model.methods.sequential_vae import SequentialVAE
from seqviews.model.protocol import Loss, Views


class DSVAE(SequentialVAE):
    """Disentangled sequential autoencoder, for clips and for segments of speech.

    Minimises, in nats a sequence, the negative evidence lower bound `reconstruction + alpha (KL_s + KL_z)`. Nothing in
    it tells s from z but that s is one vector a sequence; which of the two holds what is a matter of their sizes.

    The paper has two versions, q(z given x) and q(z given x, s). This is the first, its "factorised q", with the same
    networks as C-DSVAE here, so that rows of a table differ by their objectives. The paper has alpha 1.

    Args:
        frame_shape: (C, H, W) of a clip; H = W is 16, 32, 64 or 128. (n_mels,) of a segment.
        alpha: Weight of the two KL terms.
        width: Scales the channels of the convolutions, for segments the hidden layers.
        static_dim: Size of s.
        dynamic_dim: Size of z_t.
        feature_dim: Size of a frame's features.
        hidden_dim: Size of each LSTM's state.

    Raises:
        ValueError: As `SequentialVAE`.

    Example:
        >>> model = DSVAE(frame_shape=(80,), width=0.125, static_dim=8)
        >>> model.encode(torch.randn(4, 20, 80)).static.mean.shape
        torch.Size([4, 8])
    """

    takes_lengths: ClassVar[bool] = True

    def __init__(
        self,
        *,
        frame_shape: FrameShape | MelShape,
        alpha: float = 1.0,
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
        self.alpha = alpha

    def loss(self, views: Views, player: str = "model", generator: torch.Generator | None = None) -> Loss:
        """The objective for a batch; the generator, on the model's device, draws the samples of s and z.

        Raises:
            ValueError: If the frames have another shape than the model's.
        """
        batch = self.autoencode(views.anchor, generator, views.lengths)
        with torch.autocast(views.anchor.device.type, enabled=False):
            terms = batch.elbo_terms()
            total: Tensor = terms["reconstruction"] + self.alpha * (terms["kl_static"] + terms["kl_dynamic"])
            return Loss(total, terms)
