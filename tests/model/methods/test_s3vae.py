"""Each term against a loop over its formula, and what its gradient reaches."""

import math

import pytest
import torch
from naive_methods import batch_of, reached, seeded, small
from naive_networks import autoencoding, densities, shared_information
from torch import Tensor

from seqviews.augment.views import Views
from seqviews.model.layers.flow import moving_cells
from seqviews.model.methods.s3vae import S3VAE

WEIGHTS = {"alpha": 2.0, "triplet": 3.0, "prediction": 5.0, "gamma": 7.0}


def naive_triplet(anchor: Tensor, shuffled: Tensor) -> float:
    total = 0.0
    for i in range(len(anchor)):
        other = anchor[i - 1]
        total += max(0.0, math.dist(anchor[i], shuffled[i]) - math.dist(anchor[i], other) + 1) / len(anchor)
    return total


def naive_motion(logits: Tensor, x: Tensor) -> dict[str, float]:
    moves, direction = moving_cells(x)
    terms = {"moving": 0.0, "direction": 0.0}
    for i in range(len(x)):
        for t in range(1, x.shape[1]):
            for cell in range(9):
                moving = bool(moves[i, t - 1, cell])
                p = 1 / (1 + math.exp(-float(logits[i, t, cell])))
                terms["moving"] -= math.log(p if moving else 1 - p) / len(x)
                if moving:
                    eight = logits[i, t, 9 + 8 * cell : 17 + 8 * cell].tolist()
                    chosen = eight[int(direction[i, t - 1, cell])]
                    terms["direction"] -= (chosen - math.log(sum(map(math.exp, eight)))) / len(x)
    return terms


def naive_loudness(logits: Tensor, x: Tensor) -> dict[str, float]:
    total = 0.0
    for i in range(len(x)):
        for t in range(x.shape[1]):
            p = 1 / (1 + math.exp(-float(logits[i, t, 0])))
            total -= math.log(p if float(x[i, t].mean()) > 0 else 1 - p) / len(x)
    return {"loudness": total}


@pytest.mark.parametrize("shape", [(3, 16, 16), (5,)])
def test_each_term_is_a_loop_over_its_formula(shape: tuple[int, ...]) -> None:
    model, views = small(S3VAE, shape, **WEIGHTS), batch_of(shape)
    loss = model.loss(views, generator=seeded())
    assert views.order is not None
    with torch.no_grad():
        posterior, generator = model.encode(views.anchor), seeded()
        s, z = posterior.static.rsample(generator), posterior.dynamic.rsample(generator)
        expected = autoencoding(model, views.anchor, s, z)
        shuffled = torch.stack([x[order] for x, order in zip(views.anchor, views.order, strict=True)])
        expected["triplet"] = naive_triplet(posterior.static.mean, model.encode(shuffled).static.mean)
        predicted = (naive_loudness if len(shape) == 1 else naive_motion)(model.predictor(z), views.anchor)
        log_s, log_z = densities(s, posterior.static), densities(z, posterior.dynamic)
        expected |= {**predicted, "mi_between": shared_information(log_s, log_z)}
    assert set(loss.terms) == set(expected) | {"static_off_diagonal", "dynamic_off_diagonal"}
    assert set(loss.terms) <= set(model.curves)
    for name, value in expected.items():
        assert abs(value) > 1e-3, name
        assert loss.terms[name].item() == pytest.approx(value, rel=1e-6), name
    total = expected["reconstruction"] + 2 * (expected["kl_static"] + expected["kl_dynamic"])
    total += 3 * expected["triplet"] + 5 * sum(predicted.values()) + 7 * expected["mi_between"]
    assert loss.total.item() == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize("shape", [(3, 16, 16), (5,)])
def test_what_each_gradient_reaches(shape: tuple[int, ...]) -> None:
    model = small(S3VAE, shape)
    loss = model.loss(batch_of(shape), generator=seeded())
    assert reached(model, loss.total) == {name for name, _ in model.named_children()}
    assert reached(model, loss.terms["triplet"]) == {"encoder", "static_posterior"}
    for name in ("loudness",) if len(shape) == 1 else ("moving", "direction"):
        assert reached(model, loss.terms[name]) == {"encoder", "dynamic_posterior", "predictor"}


def test_a_weight_of_0_is_logged_only_and_the_content_view_is_required() -> None:
    model, views = small(S3VAE, (5,), gamma=0.0), batch_of((5,))
    assert not model.loss(views).terms["mi_between"].requires_grad
    with pytest.raises(ValueError, match="needs the content view"):
        model.loss(Views(views.anchor))
