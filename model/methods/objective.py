"""The training objective of C-DSVAE [P eq. 6, 8]: its terms and their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor
from torch.nn import functional

Ablation: TypeAlias = Literal["none", "no-motion-view", "no-content-view", "all-mws", "dsvae"]
ABLATIONS: dict[Ablation, str] = {
    "none": "all terms",
    "no-motion-view": "without I(z; x), so without the motion view",
    "no-content-view": "without I(s; x), so without the content view",
    "all-mws": "I(s; x) and I(z; x) by minibatch weighted sampling, so without views",
    "dsvae": "no mutual information at all: beta and gamma are 0",
}


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weights of the objective [P eq. 6].

    Attributes:
        alpha: Of the two KL terms.
        beta: Of the information that the latents have about the sequence.
        gamma: Of the information that the latents have about each other.
    """

    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class LossTerms:
    """The terms of the objective, scalars: nats a sequence, averaged over the batch.

    Attributes:
        reconstruction: Squared error summed over the sequence: the negative log likelihood of a Gaussian of variance
            1/2 without its constant.
        kl_static: KL[q(s given x) || N(0, I)].
        kl_dynamic: The sum over t of KL[q(z_t given x) || p(z_t given z_<t)], z_<t sampled from the posterior.
        mi_static: I(s; x) between anchor and content view, by InfoNCE.
        mi_dynamic: I(z; x) between anchor and motion view, by InfoNCE.
        mws_static: I(s; x) of the anchors, by minibatch weighted sampling; in the objective only with all-mws.
        mws_dynamic: I(z; x) of the anchors, likewise.
        mi_between: I(s; z), by minibatch weighted sampling.
        static_off_diagonal: Not a term: near 0, mws_static is saturated at log B, and mi_between is mws_dynamic.
            See `mws_information`. Detached.
        dynamic_off_diagonal: Likewise: near 0, mws_dynamic is saturated, and mi_between is mws_static. Detached.
    """

    reconstruction: Tensor
    kl_static: Tensor
    kl_dynamic: Tensor
    mi_static: Tensor
    mi_dynamic: Tensor
    mws_static: Tensor
    mws_dynamic: Tensor
    mi_between: Tensor
    static_off_diagonal: Tensor
    dynamic_off_diagonal: Tensor

    def total(self, weights: LossWeights, ablation: Ablation = "none") -> Tensor:
        """The scalar to minimise: the negative of [P eq. 6], or of what an ablation leaves of it.

        Args:
            weights: Of the terms.
            ablation: What is left out, see `ABLATIONS`.
        """
        elbo = self.reconstruction + weights.alpha * (self.kl_static + self.kl_dynamic)
        if ablation == "dsvae":
            return elbo
        information = {
            "none": self.mi_static + self.mi_dynamic,
            "no-motion-view": self.mi_static,
            "no-content-view": self.mi_dynamic,
            "all-mws": self.mws_static + self.mws_dynamic,
        }[ablation]
        return elbo - weights.beta * information + weights.gamma * self.mi_between


def squared_error(x: Tensor, target: Tensor) -> Tensor:
    """Squared error of `[B, ...]` summed over each sequence, averaged over the batch: a scalar."""
    return functional.mse_loss(x, target, reduction="sum") / len(x)
