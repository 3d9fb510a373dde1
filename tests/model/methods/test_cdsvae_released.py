"""The released layout, against a state dict and formulas written out here from its description."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from naive_networks import lstm, lstm_step
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, pad
from torch.testing import assert_close

from seqviews.model.methods.cdsvae_released import ReleasedCDSVAE, load_released

Weights = dict[str, Tensor]


def shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the weights of the authors' Sprites model: frames of 3 x 64 x 64, s of 256, z_t of 32."""

    def norm(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        for part in ("weight", "bias", "running_mean", "running_var"):
            yield f"{name}.{part}", (channels,)
        yield f"{name}.num_batches_tracked", ()

    def affine(name: str, *shape: int, out: int = 0) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.weight", shape
        yield f"{name}.bias", (shape[out],)

    def recurrent(name: str, end: str, inputs: int, gates: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield from ((f"{name}.weight_ih{end}", (gates * 256, inputs)), (f"{name}.weight_hh{end}", (gates * 256, 256)))
        yield from ((f"{name}.bias_{part}{end}", (gates * 256,)) for part in ("ih", "hh"))

    for i, (before, channels) in enumerate([(3, 64), (64, 128), (128, 256), (256, 512)], 1):
        yield from affine(f"encoder.c{i}.main.0", channels, before, 4, 4)
        yield from norm(f"encoder.c{i}.main.1", channels)
    yield from affine("encoder.c5.0", 128, 512, 4, 4)
    yield from norm("encoder.c5.1", 128)
    yield from affine("decoder.upc1.0", 288, 512, 4, 4, out=1)
    yield from norm("decoder.upc1.1", 512)
    for i, (before, channels) in enumerate([(512, 256), (256, 128), (128, 64)], 2):
        yield from affine(f"decoder.upc{i}.main.0", before, channels, 4, 4, out=1)
        yield from norm(f"decoder.upc{i}.main.1", channels)
    yield from affine("decoder.upc5.0", 64, 3, 4, 4, out=1)
    yield from recurrent("z_lstm", "_l0", 128, 4)
    yield from recurrent("z_lstm", "_l0_reverse", 128, 4)
    yield from recurrent("z_rnn", "_l0", 512, 1)
    yield from recurrent("z_prior_lstm_ly1", "", 32, 4)
    yield from recurrent("z_prior_lstm_ly2", "", 256, 4)
    for name in ("f_mean.model.0", "f_logvar.model.0"):
        yield from affine(name, 256, 512)
    for name in ("z_mean", "z_logvar", "z_prior_mean", "z_prior_logvar"):
        yield from affine(name, 32, 256)


@pytest.fixture(scope="module")
def weights() -> Weights:
    generator = torch.Generator().manual_seed(0)
    drawn: Weights = {}
    for name, shape in shapes():
        value = torch.randn(shape, generator=generator)
        fan_in = value[0].numel() if value.dim() > 1 else 4
        drawn[name] = value.abs() + 0.5 if "running_var" in name else 1.5 * value / fan_in**0.5
        if "num_batches" in name:
            drawn[name] = torch.tensor(7)
    return drawn


@pytest.fixture(scope="module")
def model(weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> ReleasedCDSVAE:
    path = tmp_path_factory.mktemp("released") / "model.pth"
    torch.save({"model": weights, "epoch": 3}, path)
    return load_released(path).double()


@pytest.fixture(scope="module")
def exact(weights: Weights) -> Weights:
    return {name: value.double() for name, value in weights.items()}


def normalised(maps: Tensor, w: Weights, name: str) -> Tensor:
    """Batch norm in evaluation mode."""

    def of_channel(part: str) -> Tensor:
        return w[f"{name}.{part}"][:, None, None]

    scaled = (maps - of_channel("running_mean")) / (of_channel("running_var") + 1e-5).sqrt()
    return scaled * of_channel("weight") + of_channel("bias")


def naive_features(x: Tensor, w: Weights) -> Tensor:
    maps = x.flatten(0, 1)
    for i in (1, 2, 3, 4):
        maps = conv2d(maps, w[f"encoder.c{i}.main.0.weight"], w[f"encoder.c{i}.main.0.bias"], stride=2, padding=1)
        maps = leaky_relu(normalised(maps, w, f"encoder.c{i}.main.1"), 0.2)
    maps = conv2d(maps, w["encoder.c5.0.weight"], w["encoder.c5.0.bias"])
    return normalised(maps, w, "encoder.c5.1").tanh().view(*x.shape[:2], 128)


def linear(x: Tensor, w: Weights, name: str) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def naive_posterior(features: Tensor, w: Weights) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean and log-variance of s, then of z."""
    forward, backward = (lstm(features, w, "z_lstm", reverse=reverse) for reverse in (False, True))
    ends = torch.cat([forward[:, -1], backward[:, 0]], dim=1)
    static = [leaky_relu(linear(ends, w, f"f_{name}.model.0"), 0.2) for name in ("mean", "logvar")]
    h, states = features.new_zeros(len(features), 256), []
    for both in torch.cat([forward, backward], dim=2).unbind(1):
        inputs = both @ w["z_rnn.weight_ih_l0"].T + w["z_rnn.bias_ih_l0"]
        h = (inputs + h @ w["z_rnn.weight_hh_l0"].T + w["z_rnn.bias_hh_l0"]).tanh()
        states.append(h)
    hidden = torch.stack(states, dim=1)
    return static[0], static[1], linear(hidden, w, "z_mean"), linear(hidden, w, "z_logvar")


def naive_prior(z: Tensor, w: Weights) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of each step, fed the trajectory's own steps before it."""
    h1 = c1 = h2 = c2 = z.new_zeros(len(z), 256)
    means, logvars = [], []
    for before in pad(z, (0, 0, 1, 0))[:, :-1].unbind(1):
        h1, c1 = lstm_step(before, h1, c1, w, "z_prior_lstm_ly1")
        h2, c2 = lstm_step(h1, h2, c2, w, "z_prior_lstm_ly2")
        means.append(linear(h2, w, "z_prior_mean"))
        logvars.append(linear(h2, w, "z_prior_logvar"))
    return torch.stack(means, dim=1), torch.stack(logvars, dim=1)


@torch.no_grad()
def test_encoding(model: ReleasedCDSVAE, exact: Weights) -> None:
    x = torch.rand(2, 4, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    posterior = model.encode(x)
    found = (posterior.static.mean, posterior.static.logvar, posterior.dynamic.mean, posterior.dynamic.logvar)
    expected = naive_posterior(naive_features(x, exact), exact)
    assert all(statistic.std() > 0.1 for statistic in expected)
    assert_close(found, expected)


@torch.no_grad()
def test_decoding(model: ReleasedCDSVAE, exact: Weights) -> None:
    generator = torch.Generator().manual_seed(2)
    s = torch.randn(2, 256, generator=generator, dtype=torch.float64)
    z = torch.randn(2, 3, 32, generator=generator, dtype=torch.float64)
    maps = torch.cat([z, s[:, None].expand(2, 3, 256)], dim=2).view(6, 288, 1, 1)
    layers = [("upc1.0", "upc1.1", 1, 0)] + [(f"upc{i}.main.0", f"upc{i}.main.1", 2, 1) for i in (2, 3, 4)]
    for convolution, norm, stride, padding in layers:
        weight, bias = exact[f"decoder.{convolution}.weight"], exact[f"decoder.{convolution}.bias"]
        maps = conv_transpose2d(maps, weight, bias, stride, padding)
        maps = leaky_relu(normalised(maps, exact, f"decoder.{norm}"), 0.2)
    maps = conv_transpose2d(maps, exact["decoder.upc5.0.weight"], exact["decoder.upc5.0.bias"], 2, 1)
    expected = maps.sigmoid().view(2, 3, 3, 64, 64)
    assert expected.std() > 0.05
    assert_close(model.decode(s, z), expected)


@torch.no_grad()
def test_the_prior_of_a_trajectory_and_its_samples(model: ReleasedCDSVAE, exact: Weights) -> None:
    z = torch.randn(3, 5, 32, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    prior = model.p_dynamic(z)
    assert_close((prior.mean, prior.logvar), naive_prior(z, exact))
    drawn = model.sample_dynamic(3, 5, torch.Generator().manual_seed(4))
    mean, logvar = naive_prior(drawn, exact)
    generator = torch.Generator().manual_seed(4)
    noise = torch.stack([torch.randn(3, 32, generator=generator, dtype=torch.float64) for _ in range(5)], dim=1)
    assert_close(drawn, mean + (0.5 * logvar).exp() * noise)


def test_the_weights_have_the_names_of_the_released_ones(weights: Weights, tmp_path: Path) -> None:
    model = ReleasedCDSVAE(frame_shape=(3, 64, 64))
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == dict(shapes())
    model.load_state_dict(weights, strict=True)
    assert_close(model.state_dict(), weights)
    torch.save({"model": {**weights, "f_lstm.weight": torch.zeros(2)}}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"f_lstm\.weight"):
        load_released(tmp_path / "other.pth")


def test_other_sizes_are_read_off_the_checkpoint_and_under_autocast_it_stays_in_float32(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"static_dim": 10, "dynamic_dim": 6, "feature_dim": 20, "hidden_dim": 24}
    small = ReleasedCDSVAE(frame_shape=(1, 64, 64), width=0.25, **sizes).eval()
    torch.save({"model": small.state_dict()}, tmp_path / "small.pth")
    x = torch.rand(1, 2, 1, 64, 64)
    assert_close(load_released(tmp_path / "small.pth").encode(x).static.mean, small.encode(x).static.mean)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        posterior = small.encode(x)
        x = small.decode(posterior.static.mean, posterior.dynamic.mean)
    assert {posterior.static.mean.dtype, posterior.dynamic.logvar.dtype, x.dtype} == {torch.float32}


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ({"model": Path}, "not a checkpoint of weights alone"),
        ({"state_dict": {}}, 'holds no "model"'),
        ({"model": {"encoder.c1.main.0.weight": torch.zeros(64, 3, 4, 4)}}, r"encoder\.c5\.0\.weight is missing"),
    ],
)
def test_other_checkpoints_are_refused(tmp_path: Path, checkpoint: object, message: str) -> None:
    torch.save(checkpoint, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=rf"other\.pth is not a checkpoint.*{message}|other\.pth is {message}"):
        load_released(tmp_path / "other.pth")


@pytest.mark.parametrize(("shape", "size"), [((3, 32, 32), r"\[32, 32\]"), ((80,), r"\[\]")])
def test_only_frames_of_64_pixels_are_accepted(shape: tuple[int, int, int], size: str) -> None:
    with pytest.raises(ValueError, match=rf"64 x 64 and a positive width, not {size}"):
        ReleasedCDSVAE(frame_shape=shape)
