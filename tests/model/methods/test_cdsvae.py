import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from naive_networks import autoencoding, contrast, densities, entropy, shared_information
from torch import Tensor, nn
from torch.testing import assert_close

from seqviews.augment.views import Views
from seqviews.model.gaussian import Gaussian
from seqviews.model.layers.clips import ClipEncoder
from seqviews.model.methods.cdsvae import CDSVAE, NEEDS, Ablation
from seqviews.model.methods.cdsvae_released import ReleasedCDSVAE


def views(batch: int = 5, length: int = 4, channels: int = 3, side: int = 16) -> Views:
    generator = torch.Generator().manual_seed(0)
    anchor, motion = torch.rand(2, batch, length, channels, side, side, generator=generator, dtype=torch.float64)
    return Views(anchor, motion, torch.rand(batch, length, generator=generator).argsort(1))


def small_model(shape: tuple[int, int, int] = (3, 16, 16), layout: type[CDSVAE] = CDSVAE, **arguments: Any) -> CDSVAE:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"static_dim": 6, "dynamic_dim": 3, "feature_dim": 8, "hidden_dim": 12}
    return layout(frame_shape=shape, width=0.125, **sizes, **arguments).double()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shuffled(x: Tensor, order: Tensor) -> Tensor:
    return torch.stack([clip[indices] for clip, indices in zip(x, order, strict=True)])


@torch.no_grad()
def naive_terms(model: CDSVAE, v: Views, generator: torch.Generator) -> dict[str, float]:
    """Each term by the paper's formula, every view encoded as a clip of its own."""
    assert v.motion is not None
    assert v.order is not None
    anchor, motion, content = (model.encode(x) for x in (v.anchor, v.motion, shuffled(v.anchor, v.order)))
    s, z = anchor.static.rsample(generator), anchor.dynamic.rsample(generator)
    terms, batch = autoencoding(model, v.anchor, s, z), len(s)
    log_s, log_z = densities(s, anchor.static), densities(z, anchor.dynamic)
    terms["mi_static"] = contrast(anchor.static.mean, content.static.mean)
    terms["mi_dynamic"] = contrast(anchor.dynamic.mean.flatten(1), motion.dynamic.mean.flatten(1))
    terms["mi_between"] = shared_information(log_s, log_z)
    for name, log_density_of in {"mws_static": log_s, "mws_dynamic": log_z}.items():
        terms[name] = entropy(log_density_of) + sum(log_density_of[i][i] for i in range(batch)) / batch
    return terms


@pytest.mark.parametrize(("layout", "side"), [(CDSVAE, 16), (ReleasedCDSVAE, 64)])
def test_each_term_is_a_naive_loop_over_the_papers_formula(layout: type[CDSVAE], side: int) -> None:
    model, v = small_model((3, side, side), layout), views(side=side)
    for name, parameter in model.named_parameters():
        if not name.startswith(("encoder.", "decoder.", "dynamic_prior.", "z_prior_")):
            nn.init.normal_(parameter)  # latents that differ between clips, so that no term is near zero
    terms = model.loss(v, generator=seeded(3)).terms
    expected = naive_terms(model, v, seeded(3))
    assert min(abs(value) for value in expected.values()) > 1e-3
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-6), name
    assert set(terms) == set(model.curves)


INFORMATION: dict[Ablation, list[str]] = {
    "none": ["mi_static", "mi_dynamic"],
    "no-motion-view": ["mi_static"],
    "no-content-view": ["mi_dynamic"],
    "all-mws": ["mws_static", "mws_dynamic"],
    "dsvae": [],
}


@pytest.mark.parametrize("ablation", INFORMATION)
def test_the_total_is_the_papers_objective_or_what_an_ablation_leaves(ablation: Ablation) -> None:
    model, v = small_model(alpha=2.0, beta=10.0, gamma=5.0, ablation=ablation), views()
    motion, order = (x if name in model.needs else None for name, x in (("motion", v.motion), ("content", v.order)))
    given = Views(v.anchor, motion, order)
    loss = model.loss(given, generator=seeded(0))
    terms = {name: value.item() for name, value in loss.terms.items()}
    expected = terms["reconstruction"] + 2 * (terms["kl_static"] + terms["kl_dynamic"])
    expected += -10 * sum(terms[name] for name in INFORMATION[ablation])
    expected += 5 * terms["mi_between"] * (ablation != "dsvae")
    assert loss.total.item() == pytest.approx(expected, rel=1e-9)
    for term, view in {"mi_static": "content", "mi_dynamic": "motion"}.items():
        assert (term in terms) == (view in NEEDS[ablation])
    for view in model.needs:
        lacking = Views(v.anchor, None if view == "motion" else v.motion, None if view == "content" else v.order)
        with pytest.raises(ValueError, match=f"needs the {view} view"):
            model.loss(lacking)


def test_a_term_of_weight_0_is_logged_and_moves_nothing() -> None:
    terms = small_model(gamma=0.0).loss(views(), generator=seeded(0)).terms
    assert not terms["mi_between"].requires_grad
    assert_close(terms["mi_between"], small_model().loss(views(), generator=seeded(0)).terms["mi_between"])


def compiled(encoder: nn.Module) -> nn.Module:
    compile_module: Any = torch.compile
    module: nn.Module = compile_module(encoder, backend="eager")
    return module


@pytest.mark.parametrize("replace", [compiled, nn.Sequential])
def test_a_replaced_network_is_what_the_loss_runs(replace: Callable[[nn.Module], nn.Module]) -> None:
    model, v = small_model(), views()
    expected = model.loss(v, generator=seeded(0)).total
    model = small_model()
    calls: list[int] = []
    model.encoder.register_forward_hook(lambda *_: calls.append(1))
    model.encoder = replace(model.encoder)
    assert_close(model.loss(v, generator=seeded(0)).total, expected)
    assert len(calls) == 2  # the anchor and the motion view
    assert_close(model.encode(v.anchor).static.mean.shape, torch.Size([5, 6]))
    assert len(calls) == 3


def test_permuted_features_are_those_of_the_shuffled_clip_gradients_included() -> None:
    model, v = small_model(), views()
    weights = torch.rand(5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def gradients(static: Gaussian) -> tuple[Tensor, ...]:
        total = ((static.mean + static.logvar) * weights).sum()
        return torch.autograd.grad(total, list(model.parameters()), materialize_grads=True)

    assert v.order is not None
    features = model.encoder(v.anchor.flatten(0, 1)).view(5, 4, -1)
    _, content = model._view_features(v, features)
    assert content is not None
    permuted = model.q_static(content)
    encoded = model.encode(shuffled(v.anchor, v.order)).static
    assert model.training
    assert_close((permuted.mean, permuted.logvar), (encoded.mean, encoded.logvar), rtol=1e-9, atol=1e-12)
    assert (model.encode(v.anchor).static.mean - encoded.mean).abs().max() > 1e-6  # the order does matter
    assert_close(gradients(permuted), gradients(encoded), rtol=1e-6, atol=1e-9)


def test_a_frame_does_not_change_the_latents_before_it() -> None:
    model, x = small_model().eval(), views().anchor
    changed = x.clone()
    changed[:, 2] = 1 - changed[:, 2]
    before, after = model.encode(x), model.encode(changed)
    assert_close(after.dynamic.mean[:, :2], before.dynamic.mean[:, :2])
    assert_close(after.dynamic.logvar[:, :2], before.dynamic.logvar[:, :2])
    assert (after.dynamic.mean[:, 2:] - before.dynamic.mean[:, 2:]).abs().amax(-1).min() > 1e-9
    assert (after.static.mean - before.static.mean).abs().amax(-1).min() > 1e-9


def test_every_parameter_gets_a_gradient() -> None:
    model = small_model()
    model.loss(views(), generator=seeded(0)).total.backward()  # type: ignore[no-untyped-call]
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-12]
    assert without == []


def test_decoding_is_frame_by_frame() -> None:
    model = small_model().eval()
    s, z = model.sample_static(3), model.sample_dynamic(3, 5)
    assert (s.shape, z.shape) == ((3, 6), (3, 5, 3))
    x = model.decode(s, z)
    assert x.shape == (3, 5, 3, 16, 16)
    assert_close(x[1:2, 2:3], model.decode(s[1:2], z[1:2, 2:3]))


def test_the_generator_decides_samples_and_loss() -> None:
    model, v = small_model(), views()

    def draw(seed: int) -> list[Tensor]:
        g = torch.Generator().manual_seed(seed)
        return [model.sample_static(2, g), model.sample_dynamic(2, 3, g), model.loss(v, generator=g).total]

    for one, same, other in zip(draw(1), draw(1), draw(2), strict=True):
        assert_close(one, same)
        assert not torch.equal(one, other)


def test_the_running_statistics_are_those_of_the_anchor() -> None:
    model, v = small_model(), views()
    assert isinstance(model.encoder, ClipEncoder)
    convolution, norm, *_ = model.encoder.layers
    assert isinstance(norm, nn.BatchNorm2d)
    model.loss(v, generator=seeded(0))
    expected = convolution(v.anchor.flatten(0, 1)).mean((0, 2, 3))
    assert_close(norm.running_mean, 0.1 * expected)  # momentum 0.1, from zero
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize(("built", "given"), [((3, 16, 16), (1, 16, 16)), ((80,), (40,))])
def test_frames_of_another_shape_are_an_error(built: Any, given: tuple[int, ...]) -> None:
    message = f"frames are {list(given)}, the model was built for {list(built)}"
    with pytest.raises(ValueError, match=re.escape(message)):
        small_model(built).encode(torch.rand(2, 4, *given))


def test_under_autocast_the_terms_stay_in_float32() -> None:
    model, v = small_model().float(), views()
    assert v.motion is not None
    v = Views(v.anchor.float(), v.motion.float(), v.order)
    full = model.loss(v, generator=seeded(0)).terms
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model.loss(v, generator=seeded(0)).terms
    for name, value in mixed.items():
        assert value.dtype == torch.float32
        assert_close(value, full[name], rtol=0.05, atol=0.02, msg=name)
