"""Gaussian: a diagonal normal distribution, what posteriors and priors are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from seqviews.model.padding import clear_padding
from seqviews.model.ranks import gather, randn

LOG_TWO_PI = math.log(2 * math.pi)


@dataclass(frozen=True, slots=True, eq=False)
class Gaussian:
    """A batch of diagonal normal distributions over vectors of D numbers.

    Attributes:
        mean: `[..., D]`.
        logvar: `[..., D]`, the natural logarithm of the variance (not of the deviation).

    Example:
        >>> unit = Gaussian.standard(torch.zeros(4, 2))
        >>> unit.rsample().shape, unit.kl(unit)
        (torch.Size([4, 2]), tensor([0., 0., 0., 0.]))
    """

    mean: Tensor
    logvar: Tensor

    @classmethod
    def standard(cls, like: Tensor) -> Gaussian:
        """N(0, I) with the shape, dtype and device of `like`."""
        return cls(torch.zeros_like(like), torch.zeros_like(like))

    def rsample(self, generator: torch.Generator | None = None) -> Tensor:
        """One sample `[..., D]` that carries gradients to mean and logvar.

        Args:
            generator: On the device of the mean; torch's default one if None. Its noise is that of the global batch,
                of which several ranks take their own rows.
        """
        return self.mean + torch.exp(0.5 * self.logvar) * randn(self.mean, generator)

    def gather(self) -> Gaussian:
        """The distributions of the global batch, with gradients; see `ranks.gather`."""
        return Gaussian(gather(self.mean), gather(self.logvar))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of `value`, `[..., D]` (broadcast), summed over D: `[...]`, in nats."""
        scaled = (value - self.mean) * torch.exp(-0.5 * self.logvar)
        return -0.5 * (scaled.square().sum(-1) + (self.logvar + LOG_TWO_PI).sum(-1))

    def kl(self, other: Gaussian) -> Tensor:
        """KL[self || other], summed over D: `[...]`, in nats."""
        difference = (self.mean - other.mean) * torch.exp(-0.5 * other.logvar)
        ratio = self.logvar - other.logvar
        return 0.5 * (difference.square() + torch.expm1(ratio) - ratio).sum(-1)

    def to(self, dtype: torch.dtype) -> Gaussian:
        """In another dtype: densities need float32, also of parameters that autocast made bfloat16."""
        return Gaussian(self.mean.to(dtype), self.logvar.to(dtype))

    def flatten(self) -> Gaussian:
        """Over a batch of trajectories `[B, T, D]`: the product over time as one Gaussian `[B, T * D]`."""
        return Gaussian(self.mean.flatten(1), self.logvar.flatten(1))

    def clear_padding(self, lengths: Tensor | None) -> Gaussian:
        """Over a batch of trajectories `[B, T, D]`: N(0, I) beyond the lengths int64 `[B]`; see `padding`."""
        return Gaussian(clear_padding(self.mean, lengths), clear_padding(self.logvar, lengths))

    def chunk(self, chunks: int) -> tuple[Gaussian, ...]:
        """The batch cut along its first axis into `chunks` equal parts."""
        return tuple(map(Gaussian, self.mean.chunk(chunks), self.logvar.chunk(chunks)))
