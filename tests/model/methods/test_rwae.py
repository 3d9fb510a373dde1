"""Each term against a loop over its formula, and which player moves what."""

import math

import pytest
import torch
from naive_methods import batch_of, reached, seeded, small
from naive_networks import discrepancy
from torch import Tensor

from seqviews.model.methods.rwae import RWAE, Divergence

CHOICES: list[Divergence] = ["mmd", "gan"]


def naive_softplus(x: Tensor) -> float:
    return sum(math.log(1 + math.exp(value)) for value in x.tolist()) / len(x)


@pytest.mark.parametrize("shape", [(3, 16, 16), (5,)])
@pytest.mark.parametrize("divergence", CHOICES)
def test_each_term_is_a_loop_over_its_formula(divergence: Divergence, shape: tuple[int, ...]) -> None:
    model = small(RWAE, shape, divergence=divergence, beta_static=3.0, beta_dynamic=5.0)
    views, generator = batch_of(shape), seeded()
    loss = model.loss(views, generator=seeded())
    with torch.no_grad():
        posterior = model.encode(views.anchor)
        s, z = posterior.static.rsample(generator), posterior.dynamic.rsample(generator)
        if divergence == "mmd":
            of_s = discrepancy(s, torch.randn(s.shape, generator=generator, dtype=s.dtype))
        else:
            of_s = naive_softplus(-model.discriminator(s))
        drawn = model.p_dynamic(z).rsample(generator)
        expected = {
            "reconstruction": float((model.decode(s, z) - views.anchor).square().sum()) / len(s),
            "divergence_static": of_s,
            "divergence_dynamic": sum(discrepancy(z[:, t], drawn[:, t]) for t in range(z.shape[1])),
        }
    assert set(loss.terms) == set(expected)
    for name, value in expected.items():
        assert abs(value) > 1e-4, name
        assert loss.terms[name].item() == pytest.approx(value, rel=1e-6), name
    total = expected["reconstruction"] + 3 * of_s + 5 * expected["divergence_dynamic"]
    assert loss.total.item() == pytest.approx(total, rel=1e-6)


def test_the_discriminator_is_trained_on_the_cross_entropy() -> None:
    model, views, generator = small(RWAE, (5,), divergence="gan"), batch_of((5,)), seeded()
    loss = model.loss(views, "discriminator", seeded())
    with torch.no_grad():
        s = model.encode(views.anchor).static.rsample(generator)
        drawn = torch.randn(s.shape, generator=generator, dtype=s.dtype)
        expected = naive_softplus(-model.discriminator(drawn)) + naive_softplus(model.discriminator(s))
    assert loss.total.item() == pytest.approx(expected, rel=1e-6)
    assert loss.terms.keys() == {"discriminator_loss"}


def test_each_player_moves_its_own_part_only() -> None:
    model, views = small(RWAE, (3, 16, 16), divergence="gan"), batch_of((3, 16, 16))
    statistics = {name: value.clone() for name, value in model.named_buffers()}
    assert reached(model, model.loss(views, "discriminator").total) == {"discriminator"}
    assert all(torch.equal(value, statistics[name]) for name, value in model.named_buffers())
    loss = model.loss(views, "model")
    assert reached(model, loss.total) == {name for name, _ in model.named_children()} - {"discriminator"}
    assert reached(model, loss.terms["divergence_static"]) == {"encoder", "static_posterior"}
    assert reached(model, loss.terms["divergence_dynamic"]) == {"encoder", "dynamic_posterior", "dynamic_prior"}
    of_model = {id(parameter) for parameter in model.parameters_of("model")}
    of_adversary = {id(parameter) for parameter in model.parameters_of("discriminator")}
    assert not of_model & of_adversary
    assert of_model | of_adversary == {id(parameter) for parameter in model.parameters()}
