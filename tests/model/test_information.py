import math

import pytest
import torch
from naive_networks import contrast, densities, shared_information
from torch import Tensor
from torch.testing import assert_close

from seqviews.model.gaussian import Gaussian
from seqviews.model.information import info_nce, info_nce_from_scores, mws_information, pairwise_log_prob


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("temperature", [0.5, 0.1])
def test_info_nce_is_the_papers_formula_both_ways(temperature: float) -> None:
    anchor = normal(6, 5)
    positive = anchor + 0.5 * normal(6, 5, seed=1)
    expected = contrast(anchor, positive, temperature)
    assert_close(info_nce(anchor, positive, temperature).item(), expected, rtol=1e-6, atol=0)


def test_all_records_of_a_group_match() -> None:
    groups = torch.tensor([0, 1, 0, 2, 1, 0])
    anchor, positive = normal(6, 5), normal(6, 5, seed=1)
    found = info_nce(anchor, positive, 0.3, groups[:, None] == groups)
    assert_close(found.item(), contrast(anchor, positive, 0.3, groups.tolist()), rtol=1e-6, atol=0)
    alone = info_nce(anchor, positive, 0.3, torch.eye(6, dtype=torch.bool))
    assert_close(alone, info_nce(anchor, positive, 0.3))


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
    expected = shared_information(densities(s, static), densities(z, dynamic))
    assert_close(mws_information(s, static, z, dynamic).between.item(), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.95])
def test_mws_is_the_closed_form_in_one_dimension(correlation: float) -> None:
    # Unit-variance means with this correlation, posteriors of variances v and w: the aggregate is a Gaussian of known
    # covariance: I(s; z) = -log(1 - r^2) / 2, r^2 = correlation^2 / ((1 + v) (1 + w)); I(s; x) = log(1 + 1 / v) / 2.
    m, v, w = 2000, 0.25, 0.5
    a, noise = normal(m), normal(m, seed=1)
    b = correlation * a + math.sqrt(1 - correlation**2) * noise
    static = Gaussian(a[:, None], torch.full((m, 1), math.log(v), dtype=torch.float64))
    dynamic = Gaussian(b[:, None, None], torch.full((m, 1, 1), math.log(w), dtype=torch.float64))
    s, z = static.rsample(torch.Generator().manual_seed(2)), dynamic.rsample(torch.Generator().manual_seed(3))
    of_s, of_z, between, *off_diagonal = mws_information(s, static, z, dynamic)
    assert between.item() == pytest.approx(-math.log(1 - correlation**2 / ((1 + v) * (1 + w))) / 2, abs=0.03)
    assert of_s.item() == pytest.approx(math.log(1 + 1 / v) / 2, abs=0.05)
    assert of_z.item() == pytest.approx(math.log(1 + 1 / w) / 2, abs=0.05)
    assert min(off_diagonal) > 0.99


def test_mws_saturates_at_log_m_and_is_zero_of_posteriors_that_ignore_the_sequence() -> None:
    far = Gaussian(100 * torch.arange(8.0)[:, None], torch.zeros(8, 1))
    path = Gaussian(far.mean[:, None], far.logvar[:, None])
    static, dynamic, between, *off_diagonal = mws_information(far.mean, far, path.mean, path)
    for estimate in (static, dynamic, between):
        assert_close(estimate, torch.tensor(math.log(8)))
    assert_close(torch.stack(off_diagonal), torch.zeros(2))
    same = Gaussian(torch.zeros(8, 1), torch.zeros(8, 1))
    path = Gaussian(torch.zeros(8, 2, 1), torch.zeros(8, 2, 1))
    _, _, estimate, *off_diagonal = mws_information(torch.randn(8, 1), same, torch.randn(8, 2, 1), path)
    assert_close(estimate, torch.tensor(0.0), rtol=0, atol=1e-5)
    assert_close(torch.stack(off_diagonal), torch.full((2,), 7 / 8))


def test_one_saturated_latent_is_reported_and_makes_i_of_s_and_z_the_information_of_the_other() -> None:
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
