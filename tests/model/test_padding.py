"""A padded record has the latents, the loss and the gradient that it has alone, whatever is in the padding."""

from typing import Any

import pytest
import torch
from naive_methods import seeded, small
from naive_networks import contrast, densities, entropy, shared_information
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional
from torch.testing import assert_close

from seqviews.augment.views import Views
from seqviews.model import gaussian
from seqviews.model.gaussian import Gaussian
from seqviews.model.layers.clips import ClipEncoder
from seqviews.model.methods.cdsvae import CDSVAE
from seqviews.model.methods.cdsvae_objects import ObjectCDSVAE
from seqviews.model.methods.cdsvae_released import ReleasedCDSVAE
from seqviews.model.methods.cdsvae_warped import WarpedCDSVAE
from seqviews.model.methods.dsvae import DSVAE

LENGTHS = torch.tensor([3, 6, 1, 5])
FRAMES = 6
CASES: list[tuple[type[Any], tuple[int, ...]]] = [
    (CDSVAE, (3, 16, 16)),
    (CDSVAE, (5,)),
    (DSVAE, (3, 16, 16)),
    (DSVAE, (5,)),
    (ReleasedCDSVAE, (3, 64, 64)),
    (ObjectCDSVAE, (3, 16, 16)),
    (WarpedCDSVAE, (3, 16, 16)),
]
ELBO = ("reconstruction", "kl_static", "kl_dynamic")


@pytest.fixture(autouse=True)
def _noise_by_position(monkeypatch: pytest.MonkeyPatch) -> None:
    """The noise of a record is the same in any batch and with any padding."""

    def noise(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.cos(torch.arange(like[0].numel(), dtype=like.dtype)).view(like[0].shape).expand_as(like)

    monkeypatch.setattr(gaussian, "randn", noise)


def padded(shape: tuple[int, ...]) -> Views:
    """Records and views, padded with NaN."""
    anchor, motion = torch.rand(2, len(LENGTHS), FRAMES, *shape, generator=seeded(1), dtype=torch.float64)
    order = torch.arange(FRAMES).repeat(len(LENGTHS), 1)
    for row, length in enumerate(LENGTHS.tolist()):
        anchor[row, length:] = motion[row, length:] = torch.nan
        order[row, :length] = torch.randperm(length, generator=seeded(row))
    return Views(anchor, motion, order, lengths=LENGTHS)


def alone(views: Views) -> list[Views]:
    """Each record and its views as a batch without padding."""
    assert views.motion is not None
    assert views.order is not None
    return [
        Views(views.anchor[rows, :length], views.motion[rows, :length], views.order[rows, :length])
        for row, length in enumerate(LENGTHS.tolist())
        for rows in [slice(row, row + 1)]
    ]


def gradient(model: nn.Module, terms: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(torch.stack(terms).sum(), list(model.parameters()), materialize_grads=True)


@pytest.mark.parametrize(("method", "shape"), CASES)
def test_a_padded_record_is_what_it_is_alone(method: type[Any], shape: tuple[int, ...]) -> None:
    model, views = small(method, shape).eval(), padded(shape)
    batch, posterior = model.autoencode(views.anchor, lengths=LENGTHS), model.encode(views.anchor, LENGTHS)
    for row, record in enumerate(alone(views)):
        single, length = model.autoencode(record.anchor), record.anchor.shape[1]
        for found, expected in (
            (posterior.static.mean[row], single.static.mean[0]),
            (posterior.static.logvar[row], single.static.logvar[0]),
            (posterior.dynamic.mean[row, :length], single.dynamic.mean[0]),
            (posterior.dynamic.logvar[row, :length], single.dynamic.logvar[0]),
            (batch.z[row, :length], single.z[0]),
            (batch.decoded[row, :length], single.decoded[0]),
        ):
            assert_close(found, expected, rtol=1e-9, atol=1e-9)
        for x in (posterior.dynamic.mean, posterior.dynamic.logvar, batch.z, batch.decoded):
            assert not x[row, length:].any()


@pytest.mark.parametrize(("method", "shape"), CASES)
def test_loss_and_gradient_are_the_means_of_those_of_each_record_alone(
    method: type[Any], shape: tuple[int, ...]
) -> None:
    model, views = small(method, shape).eval(), padded(shape)
    terms = model.loss(views).terms
    singles = [model.loss(record).terms for record in alone(views)]
    for name in ELBO:
        expected = torch.stack([single[name] for single in singles]).mean()
        assert expected > 1e-3
        assert_close(terms[name], expected, rtol=1e-9, atol=0)
    whole = gradient(model, [terms[name] for name in ELBO])
    mean = gradient(model, [single[name] / len(singles) for single in singles for name in ELBO])
    assert_close(whole, mean, rtol=1e-7, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(3, 16, 16), (5,)])
def test_information_is_a_loop_over_records_padded_with_zeros(shape: tuple[int, ...]) -> None:
    model, views = small(CDSVAE, shape).eval(), padded(shape)
    terms, records = model.loss(views).terms, alone(views)
    anchors = [model.autoencode(record.anchor) for record in records]
    motions = [model.encode(record.motion).dynamic for record in records if record.motion is not None]
    contents = [model.encode(record.content).static.mean for record in records]

    def flat(trajectories: list[Gaussian]) -> Tensor:
        return torch.cat([functional.pad(q.mean, (0, 0, 0, FRAMES - q.mean.shape[1])).flatten(1) for q in trajectories])

    def density(z: Tensor, q: Gaussian) -> float:
        mean, deviation = torch.zeros_like(z), torch.ones_like(z)
        both = min(len(z), q.mean.shape[1])
        mean[:both], deviation[:both] = q.mean[0, :both], (0.5 * q.logvar[0, :both]).exp()
        normal: Any = Normal(mean, deviation)
        return float(normal.log_prob(z).sum())

    static = Gaussian(*(torch.cat([getattr(a.static, name) for a in anchors]) for name in ("mean", "logvar")))
    log_s = densities(torch.cat([a.s for a in anchors]), static)
    log_z = [[density(a.z[0], other.dynamic) for other in anchors] for a in anchors]
    expected = {
        "mi_static": contrast(static.mean, torch.cat(contents)),
        "mi_dynamic": contrast(flat([a.dynamic for a in anchors]), flat(motions)),
        "mws_static": entropy(log_s) + sum(log_s[i][i] for i in range(len(records))) / len(records),
        "mws_dynamic": entropy(log_z) + sum(log_z[i][i] for i in range(len(records))) / len(records),
        "mi_between": shared_information(log_s, log_z),
    }
    for name, value in expected.items():
        assert abs(value) > 1e-4
        assert terms[name].item() == pytest.approx(value, rel=1e-6), name


def test_lengths_of_all_frames_change_nothing() -> None:
    model = small(CDSVAE, (5,)).eval()
    x, motion = torch.rand(2, 3, FRAMES, 5, generator=seeded(), dtype=torch.float64)
    order = torch.arange(FRAMES).flip(0).repeat(3, 1)
    expected = model.loss(Views(x, motion, order)).terms
    terms = model.loss(Views(x, motion, order, lengths=torch.full((3,), FRAMES))).terms
    assert_close(dict(terms), dict(expected), rtol=1e-9, atol=1e-9)


def test_batch_norm_sees_the_frames_of_the_records_alone() -> None:
    model, views = small(CDSVAE, (3, 16, 16)), padded((3, 16, 16))
    assert isinstance(model.encoder, ClipEncoder)
    convolution, norm, *_ = model.encoder.layers
    assert isinstance(norm, nn.BatchNorm2d)
    assert model.training
    assert model.loss(views).total.isfinite()
    frames = torch.cat([record.anchor[0] for record in alone(views)])
    assert_close(norm.running_mean, 0.1 * convolution(frames).mean((0, 2, 3)))  # momentum 0.1, from zero
