import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from seqviews.model.gaussian import Gaussian
from seqviews.model.information import info_nce, info_nce_from_scores, mws_information, pairwise_log_prob


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def naive_contrast(anchors: Tensor, views: Tensor, temperature: float) -> float:
    """[P eq. 7] for each anchor, averaged."""

    def phi(a: Tensor, b: Tensor) -> float:
        cosine = float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))
        return math.exp(cosine / temperature)

    n = len(anchors) - 1
    total = 0.0
    for i in range(n + 1):
        positive = phi(anchors[i], views[i])
        negatives = sum(phi(anchors[i], views[j]) for j in range(n + 1) if j != i)
        total += math.log(positive / (positive + negatives)) + math.log(n + 1)
    return total / (n + 1)


def naive_density(value: Tensor, mean: Tensor, logvar: Tensor) -> float:
    density = 1.0
    for x, m, v in zip(value.flatten().tolist(), mean.flatten().tolist(), logvar.exp().flatten().tolist(), strict=True):
        density *= math.exp(-((x - m) ** 2) / (2 * v)) / math.sqrt(2 * math.pi * v)
    return density


def naive_mws(s: Tensor, static: Gaussian, z: Tensor, dynamic: Gaussian) -> float:
    """[P eq. 13] for the three entropies, with log M in place of log(N M)."""
    m = len(s)
    entropy_s = entropy_z = entropy_both = 0.0
    for i in range(m):
        of_s = [naive_density(s[i], static.mean[j], static.logvar[j]) for j in range(m)]
        of_z = [naive_density(z[i], dynamic.mean[j], dynamic.logvar[j]) for j in range(m)]
        entropy_s -= (math.log(sum(of_s)) - math.log(m)) / m
        entropy_z -= (math.log(sum(of_z)) - math.log(m)) / m
        entropy_both -= (math.log(sum(a * b for a, b in zip(of_s, of_z, strict=True))) - math.log(m)) / m
    return entropy_s + entropy_z - entropy_both


@pytest.mark.parametrize("temperature", [0.5, 0.1])
def test_info_nce_is_the_papers_formula_both_ways(temperature: float) -> None:
    anchor = normal(6, 5)
    positive = anchor + 0.5 * normal(6, 5, seed=1)
    expected = (naive_contrast(anchor, positive, temperature) + naive_contrast(positive, anchor, temperature)) / 2
    assert_close(info_nce(anchor, positive, temperature).item(), expected, rtol=1e-6, atol=0)


def test_info_nce_ends() -> None:
    scores = 1000 * torch.eye(8)
    assert_close(info_nce_from_scores(scores), torch.tensor(math.log(8)))
    assert_close(info_nce_from_scores(torch.zeros(8, 8)), torch.tensor(0.0))


@pytest.mark.parametrize(("correlation", "dim"), [(0.5, 1), (0.8, 2), (0.7, 4)])
def test_info_nce_with_the_optimal_critic_is_just_below_the_truth(correlation: float, dim: int) -> None:
    truth = -dim / 2 * math.log(1 - correlation**2)
    batch, rounds = 512, 30
    x, noise = normal(rounds, batch, dim), normal(rounds, batch, dim, seed=1)
    y = correlation * x + math.sqrt(1 - correlation**2) * noise
    residual = (y[:, None] - correlation * x[:, :, None]).square().sum(-1) / (1 - correlation**2)
    log_ratio = truth - residual / 2 + y.square().sum(-1)[:, None] / 2  # log p(y_j given x_i) / p(y_j)
    estimates = torch.stack([info_nce_from_scores(scores) for scores in log_ratio])
    error = estimates.std().item() / math.sqrt(rounds)
    assert 0.8 * truth < estimates.mean().item() < truth + 3 * error


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_mws_is_the_papers_formula(spread: float) -> None:
    static = Gaussian(spread * normal(6, 3), 0.3 * normal(6, 3, seed=1))
    dynamic = Gaussian(spread * normal(6, 4, 2, seed=2), 0.3 * normal(6, 4, 2, seed=3))
    s, z = static.rsample(torch.Generator().manual_seed(4)), dynamic.rsample(torch.Generator().manual_seed(5))
    assert_close(
        mws_information(s, static, z, dynamic).between.item(), naive_mws(s, static, z, dynamic), rtol=1e-6, atol=1e-12
    )


def test_mws_of_a_latent_and_the_sequence_is_the_closed_form_in_one_dimension() -> None:
    # Means of variance 1, posteriors of variance v: I(s; x) = log(1 + 1 / v) / 2.
    m, v = 2000, 0.25
    means = normal(m)[:, None]
    static = Gaussian(means, torch.full((m, 1), math.log(v), dtype=torch.float64))
    dynamic = Gaussian(means[:, None], torch.full((m, 1, 1), math.log(4 * v), dtype=torch.float64))
    s, z = static.rsample(torch.Generator().manual_seed(2)), dynamic.rsample(torch.Generator().manual_seed(3))
    mws = mws_information(s, static, z, dynamic)
    assert mws.static.item() == pytest.approx(math.log(1 + 1 / v) / 2, abs=0.05)
    assert mws.dynamic.item() == pytest.approx(math.log(1 + 1 / (4 * v)) / 2, abs=0.05)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.95])
def test_mws_is_the_closed_form_in_one_dimension(correlation: float) -> None:
    # Unit-variance means with this correlation, posteriors of variance v: the aggregate is a Gaussian of known
    # covariance, so I(s; z) = -log(1 - r^2) / 2 with r = correlation / (1 + v).
    m, v = 2000, 0.25
    a, noise = normal(m), normal(m, seed=1)
    b = correlation * a + math.sqrt(1 - correlation**2) * noise
    logvar = torch.full((m,), math.log(v), dtype=torch.float64)
    static, dynamic = Gaussian(a[:, None], logvar[:, None]), Gaussian(b[:, None, None], logvar[:, None, None])
    s, z = static.rsample(torch.Generator().manual_seed(2)), dynamic.rsample(torch.Generator().manual_seed(3))
    _, _, estimate, *off_diagonal = mws_information(s, static, z, dynamic)
    truth = -math.log(1 - (correlation / (1 + v)) ** 2) / 2
    assert estimate.item() == pytest.approx(truth, abs=0.03)
    assert min(off_diagonal) > 0.99


def test_mws_saturates_at_log_m_and_says_so() -> None:
    far = Gaussian(100 * torch.arange(8.0)[:, None], torch.zeros(8, 1))
    path = Gaussian(far.mean[:, None], far.logvar[:, None])
    *estimates, static_off_diagonal, dynamic_off_diagonal = mws_information(far.mean, far, path.mean, path)
    for each in estimates:
        assert_close(each, torch.tensor(math.log(8)))
    assert_close(static_off_diagonal, torch.tensor(0.0))
    assert_close(dynamic_off_diagonal, torch.tensor(0.0))


def test_mws_of_posteriors_that_ignore_the_sequence_is_zero() -> None:
    same = Gaussian(torch.zeros(8, 1), torch.zeros(8, 1))
    path = Gaussian(torch.zeros(8, 2, 1), torch.zeros(8, 2, 1))
    _, _, estimate, *off_diagonal = mws_information(torch.randn(8, 1), same, torch.randn(8, 2, 1), path)
    assert_close(estimate, torch.tensor(0.0), rtol=0, atol=1e-5)
    assert_close(torch.stack(off_diagonal), torch.full((2,), 7 / 8))


def test_one_saturated_latent_is_told_and_makes_i_of_s_and_z_the_information_of_the_other() -> None:
    far = Gaussian(100 * torch.arange(8.0)[:, None], torch.zeros(8, 1, requires_grad=True))
    near = Gaussian(normal(8, 2, 1).float(), torch.zeros(8, 2, 1))
    mws = mws_information(far.mean, far, near.rsample(torch.Generator().manual_seed(1)), near)
    assert_close(mws.static_off_diagonal, torch.tensor(0.0))
    assert mws.dynamic_off_diagonal > 0.3
    assert_close(mws.between, mws.dynamic, rtol=0, atol=1e-5)
    assert not mws.static_off_diagonal.requires_grad


def test_pairwise_densities_of_narrow_posteriors_keep_their_digits_in_float32() -> None:
    mean, noise = 3 * normal(32, 256), normal(32, 256, seed=1)
    mean = mean.float().double()  # both precisions start from the same numbers
    logvar = torch.full_like(mean, -8.0)
    samples = (mean + math.exp(-4) * noise).float().double()
    exact = pairwise_log_prob(samples, Gaussian(mean, logvar))
    single = pairwise_log_prob(samples.float(), Gaussian(mean.float(), logvar.float()))
    assert_close(single.double(), exact, rtol=1e-5, atol=1e-2)
