import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqviews.model.gaussian import Gaussian
from seqviews.model.layers.recurrent import DynamicPosterior, DynamicPrior, StaticPosterior


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def unrolled(lstm: nn.LSTM, x: Tensor, suffix: str = "l0") -> Tensor:
    """What an LSTM gives at each step of `[B, T, F]`, from zeros, by the textbook's equations."""
    w_in, w_state = getattr(lstm, f"weight_ih_{suffix}"), getattr(lstm, f"weight_hh_{suffix}")
    bias = getattr(lstm, f"bias_ih_{suffix}") + getattr(lstm, f"bias_hh_{suffix}")
    hidden = cell = x.new_zeros(len(x), lstm.hidden_size)
    outputs = []
    for t in range(x.shape[1]):
        enter, forget, change, leave = (x[:, t] @ w_in.T + hidden @ w_state.T + bias).chunk(4, dim=1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * change.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        outputs.append(hidden)
    return torch.stack(outputs, dim=1)


def head(layer: nn.Linear, hidden: Tensor) -> tuple[Tensor, Tensor]:
    out = hidden @ layer.weight.T + layer.bias
    half = out.shape[-1] // 2
    return out[..., :half], out[..., half:]


def assert_same(q: Gaussian, expected: tuple[Tensor, Tensor]) -> None:
    assert_close((q.mean, q.logvar), expected, rtol=1e-6, atol=1e-9)


def test_static_posterior_is_two_last_states() -> None:
    network, features = StaticPosterior(5, 7, 3).double(), normal(4, 6, 5)
    forward = unrolled(network.lstm, features)[:, -1]
    backward = unrolled(network.lstm, features.flip(1), "l0_reverse")[:, -1]
    assert_same(network(features), head(network.head, torch.cat([forward, backward], dim=1)))


def test_dynamic_posterior_reads_forward() -> None:
    network, features = DynamicPosterior(5, 7, 3).double(), normal(4, 6, 5)
    assert_same(network(features), head(network.head, unrolled(network.lstm, features)))


def test_dynamic_prior_reads_the_trajectory_before() -> None:
    network, z = DynamicPrior(7, 3).double(), normal(4, 6, 3)
    before = torch.cat([torch.zeros(4, 1, 3), z[:, :-1]], dim=1)
    assert_same(network(z), head(network.head, unrolled(network.lstm, before)))


def test_a_draw_from_the_prior_follows_the_prior() -> None:
    network = DynamicPrior(16, 3).double()
    z = network.sample(3, 5, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    noise = torch.stack([torch.randn(3, 1, 3, generator=generator, dtype=torch.float64)[:, 0] for _ in range(5)], dim=1)
    prior = network(z)  # each step given the steps that were drawn before it
    assert_close(z, prior.mean + prior.logvar.exp().sqrt() * noise)


def test_draws_from_the_prior_spread_as_it_says() -> None:
    network = DynamicPrior(8, 2)
    z = network.sample(20_000, 1, torch.Generator().manual_seed(0))[:, 0]
    first = network(torch.zeros(1, 1, 2))
    assert_close(z.mean(0), first.mean[0, 0], rtol=0, atol=0.04)
    assert_close(z.var(0), first.logvar[0, 0].exp(), rtol=0.05, atol=0)


def test_later_samples_do_not_change_the_prior_before() -> None:
    network, z = DynamicPrior(7, 3).double(), normal(4, 6, 3)
    later = torch.cat([z[:, :3], z[:, 3:] + 1], dim=1)
    assert_close(network(later).mean[:, :4], network(z).mean[:, :4])
    assert (network(later).mean[:, 4:] - network(z).mean[:, 4:]).abs().min() > 0
