import torch
from naive_networks import lstm
from torch import Tensor, nn
from torch.testing import assert_close

from seqviews.model.gaussian import Gaussian
from seqviews.model.layers.recurrent import DynamicPosterior, DynamicPrior, StaticPosterior


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def assert_head_of(network: nn.Module, q: Gaussian, hidden: Tensor) -> None:
    weights = network.state_dict()
    out = hidden @ weights["head.weight"].T + weights["head.bias"]
    half = out.shape[-1] // 2
    assert_close((q.mean, q.logvar), (out[..., :half], out[..., half:]), rtol=1e-6, atol=1e-9)


def test_static_posterior_is_two_last_states() -> None:
    network, features = StaticPosterior(5, 7, 3).double(), normal(4, 6, 5)
    forward, backward = (lstm(features, network.state_dict(), "lstm", reverse=reverse) for reverse in (False, True))
    assert_head_of(network, network(features), torch.cat([forward[:, -1], backward[:, 0]], dim=1))


def test_dynamic_posterior_reads_forward() -> None:
    network, features = DynamicPosterior(5, 7, 3).double(), normal(4, 6, 5)
    assert_head_of(network, network(features), lstm(features, network.state_dict(), "lstm"))


def test_dynamic_prior_reads_the_trajectory_before() -> None:
    network, z = DynamicPrior(7, 3).double(), normal(4, 6, 3)
    before = torch.cat([torch.zeros(4, 1, 3), z[:, :-1]], dim=1)
    assert_head_of(network, network(z), lstm(before, network.state_dict(), "lstm"))


def test_a_draw_from_the_prior_follows_the_prior() -> None:
    network = DynamicPrior(16, 3).double()
    z = network.sample(3, 5, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    noise = torch.stack([torch.randn(3, 1, 3, generator=generator, dtype=torch.float64)[:, 0] for _ in range(5)], dim=1)
    prior = network(z)  # each step given the steps that were drawn before it
    assert_close(z, prior.mean + prior.logvar.exp().sqrt() * noise)


def test_later_samples_do_not_change_the_prior_before() -> None:
    network, z = DynamicPrior(7, 3).double(), normal(4, 6, 3)
    later = torch.cat([z[:, :3], z[:, 3:] + 1], dim=1)
    assert_close(network(later).mean[:, :4], network(z).mean[:, :4])
    assert (network(later).mean[:, 4:] - network(z).mean[:, 4:]).abs().min() > 0
