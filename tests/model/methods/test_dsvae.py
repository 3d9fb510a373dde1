"""The evidence lower bound against a loop over its formula."""

import pytest
import torch
from naive_methods import batch_of, reached, seeded, small
from naive_networks import autoencoding

from seqviews.model.methods.dsvae import DSVAE

PARTS = {"encoder", "decoder", "static_posterior", "dynamic_posterior", "dynamic_prior"}


@pytest.mark.parametrize("shape", [(3, 16, 16), (5,)])
def test_each_term_is_a_loop_over_its_formula(shape: tuple[int, ...]) -> None:
    model, views = small(DSVAE, shape, alpha=3.0), batch_of(shape)
    loss = model.loss(views, generator=seeded())
    with torch.no_grad():
        posterior, generator = model.encode(views.anchor), seeded()
        s, z = posterior.static.rsample(generator), posterior.dynamic.rsample(generator)
        expected = autoencoding(model, views.anchor, s, z)
    assert set(loss.terms) == set(model.curves)
    for name, value in expected.items():
        assert abs(value) > 1e-3
        assert loss.terms[name].item() == pytest.approx(value, rel=1e-6), name
    total = expected["reconstruction"] + 3 * (expected["kl_static"] + expected["kl_dynamic"])
    assert loss.total.item() == pytest.approx(total, rel=1e-6)
    assert reached(model, loss.total) == PARTS
    assert reached(model, loss.terms["kl_static"]) == {"encoder", "static_posterior"}
    assert reached(model, loss.terms["kl_dynamic"]) == {"encoder", "dynamic_posterior", "dynamic_prior"}
