"""Maximum mean discrepancy against a loop over its formula, and its known values."""

import pytest
import torch
from naive_networks import discrepancy
from torch import Tensor

from seqviews.model.discrepancy import mmd


def draws(count: int, size: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(count, size, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_a_loop_over_the_formula() -> None:
    u, v = draws(3, 5, 4), 1.5 * draws(3, 5, 4, seed=1) + 0.5
    assert mmd(u, v).tolist() == pytest.approx([discrepancy(a, b) for a, b in zip(u, v, strict=True)], rel=1e-6)


def test_it_is_0_in_the_mean_for_samples_of_one_distribution_and_grows_with_a_shift() -> None:
    u, v = draws(2000, 16, 3), draws(2000, 16, 3, seed=1)
    means = [float(mmd(u, v + shift).mean()) for shift in (0.0, 0.5, 1.0, 2.0)]
    error = float(mmd(u, v).std()) / 2000**0.5
    assert abs(means[0]) < 3 * error
    assert means[1] > 10 * error
    assert means == sorted(means)
    assert mmd(u[0, :1], v[0, :1]) < 0  # one of each: there are no pairs, only what is between them
