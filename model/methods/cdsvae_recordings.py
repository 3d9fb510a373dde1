"""C-DSVAE that knows which records are cut from one recording, so that s holds what a whole recording has in common."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from seqviews.model.gaussian import Gaussian
from seqviews.model.information import info_nce
from seqviews.model.layers.clips import FrameShape
from seqviews.model.layers.fixed import fixed
from seqviews.model.layers.segments import MelShape
from seqviews.model.methods.cdsvae import CDSVAE, INFO_NCE
from seqviews.model.methods.sequential_vae import SequentialVAE, both
from seqviews.model.protocol import Curve, Loss, Views
from seqviews.model.ranks import gather, own_rows

SWAPPED = "of swaps about their latents, by InfoNCE"


class RecordingCDSVAE(CDSVAE):
    """C-DSVAE [P 2], whose s is that of a recording.

    A segment of 0.2 s is too short to tell what is said from who speaks, and s of C-DSVAE is compared only with s of
    the same segment in another order. Like FHVAE (Hsu et al., NeurIPS 2017), this method knows which records are of one
    source, though not of which speaker. It differs from C-DSVAE in four ways:

    - A record is reconstructed from the s of another record of its source, which cannot hold what is said, and from the
      z of its own motion view, which does not hold whose voice it is. A record that is alone in its batch lends its own
      s, without gradient.
    - Where C-DSVAE contrasts s with that of the content view, all records of the source match.
    - The s of the record before it in the batch, mostly of another source, is decoded with z. Encoded again, this swap
      must have that s and that z, by InfoNCE. The weights that encode it are constants there, so the gradient reaches
      the decoder and the latents that it decodes, and an encoder cannot learn to accept a poor swap.
    - The two KL terms and the terms of s have weights of their own.

    Minimises, in nats a sequence,

        reconstruction + alpha_static KL_s + alpha KL_z - beta_static I(s; x) - beta I(z; x) - beta_swap (I_s + I_z / 4)

    with the terms of `CDSVAE` and `swap_static` I_s and `swap_dynamic` I_z. Batches must hold several records of a
    source (`TrainConfig.lanes` and `window`).

    Args:
        frame_shape: As of `CDSVAE`, like the arguments below that are not listed.
        alpha: Weight of KL_z.
        alpha_static: Weight of KL_s; small, as the s of another record cannot hold what is said.
        beta: Weight of I(z; x), between the anchor and the motion view.
        beta_static: Weight of I(s; x), over the records of a source.
        beta_swap: Weight of the swaps.
        temperature_static: Of the contrastive estimates of s.

    Raises:
        ValueError: As `CDSVAE`.

    Example:
        >>> model = RecordingCDSVAE(frame_shape=(80,), width=0.125, hidden_dim=16)
        >>> model.encode(torch.randn(4, 20, 80)).dynamic.mean.shape
        torch.Size([4, 20, 32])
    """

    needs = frozenset({"motion", "content", "source"})
    takes_lengths: ClassVar[bool] = False
    curves: ClassVar[Mapping[str, Curve]] = {
        **SequentialVAE.curves,
        "mi_static": Curve("I(s; x)", panel=INFO_NCE),
        "mi_dynamic": Curve("I(z; x)", panel=INFO_NCE),
        "swap_static": Curve("s", panel=SWAPPED),
        "swap_dynamic": Curve("z", panel=SWAPPED),
    }

    def __init__(
        self,
        *,
        frame_shape: FrameShape | MelShape,
        alpha: float = 1.0,
        alpha_static: float = 0.2,
        beta: float = 10.0,
        beta_static: float = 20.0,
        beta_swap: float = 50.0,
        width: float = 1.0,
        static_dim: int = 256,
        dynamic_dim: int = 32,
        feature_dim: int = 128,
        hidden_dim: int = 256,
        temperature: float = 0.5,
        temperature_static: float = 0.2,
    ) -> None:
        super().__init__(
            frame_shape=frame_shape,
            alpha=alpha,
            beta=beta,
            gamma=0.0,
            width=width,
            static_dim=static_dim,
            dynamic_dim=dynamic_dim,
            feature_dim=feature_dim,
            hidden_dim=hidden_dim,
            temperature=temperature,
        )
        self.needs = RecordingCDSVAE.needs
        self.temperature_static = temperature_static
        self.alpha_static, self.beta_static, self.beta_swap = alpha_static, beta_static, beta_swap

    def loss(self, views: Views, player: str = "model", generator: torch.Generator | None = None) -> Loss:
        """The objective for a batch, whose labels have the `source`; arguments as of `CDSVAE.loss`.

        The recurrent networks run under autocast, too; densities and contrasts are computed in the anchor's dtype.

        Raises:
            ValueError: As `CDSVAE.loss`; also if the batch does not have the source of each record.
        """
        if "source" not in views.labels:
            raise ValueError("the loss needs the source of each record, which the batch does not have")
        features = self._features(views.anchor)
        motion_features, content_features = self._view_features(views, features)
        source = gather(views.labels["source"])
        same, partner = source[:, None] == source, next_of_source(source)
        static, content = both(self.q_static, features, content_features)
        dynamic, motion = both(self.q_dynamic, features, motion_features)
        assert content is not None
        assert motion is not None
        dtype = views.anchor.dtype
        static, content, dynamic, motion = (q.to(dtype) for q in (static, content, dynamic, motion))
        s, z = static.rsample(generator), motion.rsample(generator)
        shared = gather(s)
        alone = partner == torch.arange(len(source), device=s.device)
        lent = torch.where(alone[:, None], shared.detach(), shared[partner])
        reconstruction = self.decode(own_rows(lent), z).to(dtype)
        prior = self.p_dynamic(z).to(dtype)
        swapped_s, swapped_z = self._encode_swaps(self.decode(own_rows(shared.roll(1, 0)), z))
        with torch.autocast(features.device.type, enabled=False):
            means = gather(static.mean)
            others, of_others = means.detach().roll(1, 0), same.roll((1, 1), (0, 1))
            terms = {
                "reconstruction": functional.mse_loss(reconstruction, views.anchor, reduction="sum") / len(s),
                "kl_static": static.kl(Gaussian.standard(s)).mean(),
                "kl_dynamic": motion.kl(prior).sum(1).mean(),
                "mi_static": info_nce(means, gather(content.mean), self.temperature_static, same),
                "mi_dynamic": self._contrast(dynamic.mean.flatten(1), motion.mean.flatten(1)),
                "swap_static": info_nce(gather(swapped_s.mean), others, self.temperature_static, of_others),
                "swap_dynamic": self._contrast(swapped_z.mean.flatten(1), motion.mean.detach().flatten(1)),
            }
            return Loss(self._total(terms), terms)

    def _encode_swaps(self, swapped: Tensor) -> tuple[Gaussian, Gaussian]:
        """The posteriors of swaps, of which the gradient reaches the decoder and the latents, not the encoder."""
        features = fixed(self.encoder, swapped.flatten(0, 1)).view(*swapped.shape[:2], -1)
        static = fixed(self.static_posterior, features)
        dynamic = fixed(self.dynamic_posterior, features)
        return static.to(swapped.dtype), dynamic.to(swapped.dtype)

    def _total(self, terms: Mapping[str, Tensor]) -> Tensor:
        total = terms["reconstruction"] + self.alpha_static * terms["kl_static"] + self.alpha * terms["kl_dynamic"]
        total = total - self.beta_static * terms["mi_static"] - self.beta * terms["mi_dynamic"]
        return total - self.beta_swap * (terms["swap_static"] + terms["swap_dynamic"] / 4)


def next_of_source(source: Tensor) -> Tensor:
    """For each record the next of its source in the batch, cyclically; a record that is alone is its own.

    Args:
        source: int64 `[B]`.

    >>> next_of_source(torch.tensor([7, 3, 7, 7, 5, 3]))
    tensor([2, 5, 3, 0, 4, 1])
    """
    order = source.argsort(stable=True)
    ordered = source[order]
    first, end = (torch.searchsorted(ordered, ordered, side=side) for side in ("left", "right"))
    following = torch.arange(1, len(source) + 1, device=source.device)
    following = torch.where(following < end, following, first)
    return torch.empty_like(order).scatter_(0, order, order[following])
