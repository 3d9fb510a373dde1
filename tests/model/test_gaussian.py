import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence
from torch.testing import assert_close

from seqviews.model.gaussian import Gaussian


def gaussian(*shape: int, seed: int = 0) -> Gaussian:
    generator = torch.Generator().manual_seed(seed)
    mean, logvar = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return Gaussian(2 * mean, logvar)


def reference(q: Gaussian) -> Independent[Normal]:
    return Independent(Normal(q.mean, q.logvar.exp().sqrt()), 1)


def log_prob(distribution: Independent[Normal], value: Tensor) -> Tensor:
    return distribution.log_prob(value)  # type: ignore[no-untyped-call, no-any-return]


def test_kl_and_log_prob_are_those_of_torch_distributions() -> None:
    q, p = gaussian(4, 3, 5), gaussian(4, 3, 5, seed=1)
    value = gaussian(4, 3, 5, seed=2).mean
    assert_close(q.kl(p), kl_divergence(reference(q), reference(p)), rtol=1e-6, atol=0)
    assert_close(q.log_prob(value), log_prob(reference(q), value), rtol=1e-6, atol=0)
    unit = Independent(Normal(torch.zeros_like(value), torch.ones_like(value)), 1)
    assert_close(Gaussian.standard(value).log_prob(value), log_prob(unit, value))
    assert_close(q.flatten().log_prob(value.flatten(1)), log_prob(reference(q), value).sum(1))


def test_kl_of_nearly_equal_gaussians_keeps_its_digits_in_float32() -> None:
    logvar = torch.tensor([1e-3])
    kl = Gaussian(torch.zeros(1), logvar).kl(Gaussian.standard(logvar))
    assert kl.item() == pytest.approx(0.5 * (1e-3**2 / 2 + 1e-3**3 / 6), rel=1e-3)


def test_samples_have_the_mean_and_the_variance_and_follow_the_generator() -> None:
    q = Gaussian(torch.tensor([1.0, -2.0]), torch.tensor([0.5, -3.0]))
    many = Gaussian(q.mean.expand(100_000, 2), q.logvar.expand(100_000, 2))
    samples = many.rsample(torch.Generator().manual_seed(0))
    assert_close(samples.mean(0), q.mean, rtol=0, atol=0.02)
    assert_close(samples.var(0), q.logvar.exp(), rtol=0.02, atol=0)
    same, other = (many.rsample(torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert torch.equal(samples, same)
    assert not torch.equal(samples, other)


def test_samples_carry_gradients() -> None:
    mean, logvar = torch.zeros(3, requires_grad=True), torch.tensor([-1.0, 0.0, 1.0], requires_grad=True)
    sample = Gaussian(mean, logvar).rsample(torch.Generator().manual_seed(0))
    by_mean, by_logvar = torch.autograd.grad(sample.sum(), (mean, logvar))
    assert_close(by_mean, torch.ones(3))
    assert_close(by_logvar, sample.detach() / 2)  # the sample is deviation times noise, the deviation exp(logvar / 2)


def test_chunks_are_parts_of_the_batch() -> None:
    q = gaussian(6, 2)
    first, second = q.chunk(2)
    assert torch.equal(first.mean, q.mean[:3])
    assert torch.equal(second.logvar, q.logvar[3:])
