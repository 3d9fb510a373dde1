"""Each term against loops over its formula, and what reaches which network."""

import pytest
import torch
from naive_networks import contrast
from torch import Tensor
from torch.testing import assert_close

from seqviews.augment.views import Views
from seqviews.model.methods.cdsvae_recordings import RecordingCDSVAE, next_of_source

SOURCE = [4, 1, 4, 7, 1, 4]
BATCH, LENGTH, MELS = len(SOURCE), 3, 5
WEIGHTS = {"alpha": 2.0, "alpha_static": 3.0, "beta": 5.0, "beta_static": 7.0, "beta_swap": 11.0}


@pytest.fixture
def model() -> RecordingCDSVAE:
    torch.manual_seed(0)
    sizes = {"static_dim": 6, "dynamic_dim": 3, "feature_dim": 8, "hidden_dim": 12}
    model = RecordingCDSVAE(frame_shape=(MELS,), width=0.125, temperature_static=0.3, **sizes, **WEIGHTS)  # type: ignore[arg-type]
    for name, parameter in model.named_parameters():
        if name.startswith(("static_posterior", "dynamic_posterior")):
            parameter.data.mul_(2)  # latents that differ, so that no term is near zero
    return model.double()


@pytest.fixture
def views() -> Views:
    generator = torch.Generator().manual_seed(1)
    anchor, motion = torch.randn(2, BATCH, LENGTH, MELS, generator=generator, dtype=torch.float64)
    order = torch.rand(BATCH, LENGTH, generator=generator).argsort(1)
    return Views(anchor, motion, order, {"source": torch.tensor(SOURCE)})


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@torch.no_grad()
def test_each_term_is_a_loop_over_its_formula(model: RecordingCDSVAE, views: Views) -> None:
    assert views.motion is not None
    assert views.order is not None
    shuffled = torch.stack([x[order] for x, order in zip(views.anchor, views.order, strict=True)])
    anchor, motion, content = (model.encode(x) for x in (views.anchor, views.motion, shuffled))
    generator = seeded()
    s, z = anchor.static.rsample(generator), motion.dynamic.rsample(generator)
    partners = [2, 4, 5, 3, 1, 0]  # the next of the same source
    other = [5, 0, 1, 2, 3, 4]  # whose s is decoded with the z of the record
    swapped = model.encode(torch.cat([model.decode(s[[other[i]]], z[[i]]) for i in range(BATCH)]))
    expected = {
        "reconstruction": sum(
            float((model.decode(s[[partners[i]]], z[[i]])[0] - views.anchor[i]).square().sum()) for i in range(BATCH)
        )
        / BATCH,
        "mi_static": contrast(anchor.static.mean, content.static.mean, 0.3, SOURCE),
        "mi_dynamic": contrast(anchor.dynamic.mean.flatten(1), motion.dynamic.mean.flatten(1)),
        "swap_static": contrast(swapped.static.mean, anchor.static.mean[other], 0.3, [SOURCE[i] for i in other]),
        "swap_dynamic": contrast(swapped.dynamic.mean.flatten(1), motion.dynamic.mean.flatten(1)),
        "kl_dynamic": float(motion.dynamic.kl(model.p_dynamic(z)).sum(1).mean()),
    }
    loss = model.loss(views, generator=seeded())
    terms = {name: float(term) for name, term in loss.terms.items()}
    assert set(terms) == set(model.curves)
    for name, value in expected.items():
        assert abs(value) > 1e-4
        assert terms[name] == pytest.approx(value, rel=1e-6), name
    total = terms["reconstruction"] + 3 * terms["kl_static"] + 2 * terms["kl_dynamic"] - 7 * terms["mi_static"]
    total -= 5 * terms["mi_dynamic"] + 11 * (terms["swap_static"] + terms["swap_dynamic"] / 4)
    assert float(loss.total) == pytest.approx(total, rel=1e-9)


def gradients(model: RecordingCDSVAE, term: Tensor) -> dict[str, float]:
    found = torch.autograd.grad(term, list(model.parameters()), materialize_grads=True)
    names = [name for name, _ in model.named_parameters()]
    return {name: float(gradient.norm()) for name, gradient in zip(names, found, strict=True)}


def test_swaps_move_the_decoder_and_what_samples_the_latents(model: RecordingCDSVAE, views: Views) -> None:
    """With the latents held, nothing but the decoder moves: the encoder cannot please the term."""
    assert views.motion is not None
    s, z = torch.randn(BATCH, 6, dtype=torch.float64), torch.randn(BATCH, LENGTH, 3, dtype=torch.float64)
    swapped_s, swapped_z = model._encode_swaps(model.decode(s, z))
    norms = gradients(model, swapped_s.mean.square().sum() + swapped_z.mean.square().sum())
    assert {name for name, norm in norms.items() if norm > 0} == {
        name for name, _ in model.named_parameters() if name.startswith("decoder.")
    }
    norms = gradients(model, model.loss(views, generator=seeded()).terms["swap_static"])
    assert norms["encoder.layers.0.weight"] > 0, "through the samples that were decoded"


def test_a_record_that_is_alone_lends_its_s_without_gradient(model: RecordingCDSVAE, views: Views) -> None:
    alone = Views(views.anchor, views.motion, views.order, {"source": torch.arange(BATCH)})
    for v, moves in ((views, True), (alone, False)):
        norms = gradients(model, model.loss(v, generator=seeded()).terms["reconstruction"])
        assert (norms["static_posterior.head.weight"] > 0) == moves
        assert norms["dynamic_posterior.head.weight"] > 0


@pytest.mark.parametrize("seed", range(5))
def test_the_next_of_a_source_is_found_in_a_loop(seed: int) -> None:
    source = torch.randint(0, 6, (20,), generator=torch.Generator().manual_seed(seed))
    expected = [next(j % 20 for j in range(i + 1, i + 21) if source[j % 20] == source[i]) for i in range(20)]
    assert_close(next_of_source(source), torch.tensor(expected))


def test_what_is_missing_is_named(model: RecordingCDSVAE, views: Views) -> None:
    with pytest.raises(ValueError, match="needs the source of each record"):
        model.loss(Views(views.anchor, views.motion, views.order))
    with pytest.raises(ValueError, match="needs the motion view"):
        model.loss(Views(views.anchor, None, views.order, views.labels))
