"""The training objective of C-DSVAE [P eq. 6, 8]: its terms and their weights."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional


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
        mi_between: I(s; z), by minibatch weighted sampling.
        mi_between_off_diagonal: Not a term: the weight that tells whether mi_between means anything. Near 0, it is
            saturated at log B. See `mws_information`. Detached.
    """

    reconstruction: Tensor
    kl_static: Tensor
    kl_dynamic: Tensor
    mi_static: Tensor
    mi_dynamic: Tensor
    mi_between: Tensor
    mi_between_off_diagonal: Tensor

    def total(self, weights: LossWeights) -> Tensor:
        """The scalar to minimise: the negative of [P eq. 6]."""
        return (
            self.reconstruction
            + weights.alpha * (self.kl_static + self.kl_dynamic)
            - weights.beta * (self.mi_static + self.mi_dynamic)
            + weights.gamma * self.mi_between
        )


def squared_error(x: Tensor, target: Tensor) -> Tensor:
    """Squared error of `[B, ...]` summed over each sequence, averaged over the batch: a scalar."""
    return functional.mse_loss(x, target, reduction="sum") / len(x)
