import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqviews.model.gaussian import Gaussian
from seqviews.model.layers.clips import (
    ClipDecoder,
    ClipEncoder,
    DynamicPosterior,
    DynamicPrior,
    StaticPosterior,
    stage_channels,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def convolution_outputs(network: nn.Module, x: Tensor) -> list[tuple[int, ...]]:
    """[C, H, W] after each convolution, in the order they run."""
    shapes: list[tuple[int, ...]] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    network(x)
    return shapes


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


def test_width_one_is_the_paper() -> None:
    encoder, decoder = ClipEncoder((3, 64, 64), 128), ClipDecoder((3, 64, 64), 288)
    assert convolution_outputs(encoder, torch.rand(2, 3, 64, 64)) == [
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
    ]
    assert [layer.weight.shape for layer in encoder.modules() if isinstance(layer, nn.Linear)] == [(128, 512 * 4 * 4)]
    assert decoder.project.out_features == 512 * 4 * 4
    assert convolution_outputs(decoder, torch.rand(2, 288)) == [
        (256, 8, 8),
        (128, 16, 16),
        (128, 16, 16),
        (64, 32, 32),
        (3, 64, 64),
    ]


@pytest.mark.parametrize("side", [16, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_ranges(side: int, channels: int) -> None:
    shape = (channels, side, side)
    features = ClipEncoder(shape, 128, width=0.125)(torch.rand(4, *shape))
    frames = ClipDecoder(shape, 20, width=0.125)(5 * torch.randn(4, 20))
    assert features.shape == (4, 128)
    assert frames.shape == (4, *shape)
    assert features.abs().max() <= 1
    assert 0 <= frames.min() < frames.max() <= 1


def test_stages_follow_the_side_and_the_width() -> None:
    assert stage_channels((3, 64, 64), 1.0) == [64, 128, 256, 512]
    assert stage_channels((1, 32, 32), 1.0) == [64, 128, 256]
    assert stage_channels((1, 128, 128), 0.25) == [16, 32, 64, 128, 128]
    assert stage_channels((1, 16, 16), 0.01) == [8, 8]


@pytest.mark.parametrize("shape", [(3, 64, 32), (3, 48, 48), (3, 8, 8), (3, 256, 256)])
def test_other_frames_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=f"frames are {shape[1]} x {shape[2]} pixels"):
        ClipEncoder(shape, 128)


def test_a_width_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="width is 0"):
        ClipDecoder((3, 64, 64), 288, width=0)


def test_the_layout_in_memory_does_not_change_the_features() -> None:
    encoder = ClipEncoder((3, 16, 16), 16, width=0.125).double()
    frames = normal(6, 3, 16, 16)
    assert_close(encoder(frames.contiguous()), encoder(frames.contiguous(memory_format=torch.channels_last)))


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
