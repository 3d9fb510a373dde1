"""Maximum mean discrepancy: how far two samples are from being of one distribution."""

from collections.abc import Sequence

import torch
from torch import Tensor

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def mmd(u: Tensor, v: Tensor, scales: Sequence[float] = SCALES) -> Tensor:
    """The unbiased estimate of the squared maximum mean discrepancy (Gretton et al., JMLR 2012).

    `mean_{i != j} k(u_i, u_j) + mean_{i != j} k(v_i, v_j) - 2 mean_{i, j} k(u_i, v_j)`, with the mean of inverse
    multiquadrics `k(a, b) = c / (c + ||a - b||^2)`, c = 2 D times each of the scales; 2 D is the expected squared
    distance of samples of N(0, I) (Tolstikhin et al., ICLR 2018). For samples of one distribution it is 0 in the mean,
    so it can be negative.

    Args:
        u: `[..., M, D]`.
        v: `[..., M, D]`.
        scales: Of the kernel.

    Returns:
        `[...]`.

    Example:
        >>> u = torch.tensor([[0.0], [2.0]])
        >>> mmd(u, u + 100.0, scales=[1.0])  # almost no overlap: 2 k(u_1, u_2) = 2 * 2 / (2 + 4)
        tensor(0.6663)
    """
    return _apart(_kernel(u, u, scales)) + _apart(_kernel(v, v, scales)) - 2 * _kernel(u, v, scales).mean((-2, -1))


def _kernel(a: Tensor, b: Tensor, scales: Sequence[float]) -> Tensor:
    """`[..., M, N]`."""
    square = a.square().sum(-1)[..., :, None] + b.square().sum(-1)[..., None, :] - 2 * a @ b.transpose(-2, -1)
    sizes = [2 * a.shape[-1] * scale for scale in scales]
    return torch.stack([size / (size + square.clamp_min(0)) for size in sizes]).mean(0)


def _apart(kernel: Tensor) -> Tensor:
    """The mean over the pairs i != j; 0 if there is none."""
    count = kernel.shape[-1]
    own = kernel.diagonal(dim1=-2, dim2=-1).sum(-1)
    return (kernel.sum((-2, -1)) - own) / max(1, count * (count - 1))
