from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal, kl_divergence
from torch.testing import assert_close

from seqviews.model.gaussian import Gaussian
from seqviews.model.methods.cdsvae import CDSVAE, PaperNetworks, permute_time
from seqviews.model.methods.objective import LossTerms, LossWeights


@dataclass
class ThreeViews:
    anchor: Tensor
    motion: Tensor
    order: Tensor


def views(batch: int = 5, length: int = 4, channels: int = 3, side: int = 16) -> ThreeViews:
    generator = torch.Generator().manual_seed(0)
    anchor, motion = torch.rand(2, batch, length, channels, side, side, generator=generator, dtype=torch.float64)
    return ThreeViews(anchor, motion, torch.rand(batch, length, generator=generator).argsort(1))


def small_model(shape: tuple[int, int, int] = (3, 16, 16), variant: Literal["paper", "released"] = "paper") -> CDSVAE:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"static_dim": 6, "dynamic_dim": 3, "feature_dim": 8, "hidden_dim": 12}
    return CDSVAE(frame_shape=shape, width=0.125, variant=variant, **sizes).double()


def networks(model: CDSVAE) -> PaperNetworks:
    assert isinstance(model.networks, PaperNetworks)
    return model.networks


def shuffled(x: Tensor, order: Tensor) -> Tensor:
    return torch.stack([clip[indices] for clip, indices in zip(x, order, strict=True)])


def reference(q: Gaussian) -> Independent[Normal]:
    return Independent(Normal(q.mean, q.logvar.exp().sqrt()), 1)


def log_density(q: Gaussian, value: Tensor) -> float:
    return float(reference(q).log_prob(value).sum())  # type: ignore[no-untyped-call]


def cosine_contrast(a: Tensor, b: Tensor) -> float:
    """[P eq. 7], one direction: anchors a, views b, temperature 0.5."""
    values = []
    for i in range(len(a)):
        phi = [math.exp(float(a[i] @ b[j] / (a[i].norm() * b[j].norm())) / 0.5) for j in range(len(b))]
        values.append(math.log(phi[i] / sum(phi)) + math.log(len(b)))
    return sum(values) / len(values)


def entropy(densities: list[list[float]]) -> float:
    """[P eq. 13] with log M: entry (i, j) is the log density of sample i under the posterior of sequence j."""
    m = len(densities)
    return -sum(math.log(sum(math.exp(d) for d in row)) - math.log(m) for row in densities) / m


@torch.no_grad()
def naive_terms(model: CDSVAE, v: ThreeViews, generator: torch.Generator) -> dict[str, float]:
    """Each term by the paper's formula, every view encoded as a clip of its own."""
    anchor, motion, content = (model.encode(x) for x in (v.anchor, v.motion, shuffled(v.anchor, v.order)))
    s, z = anchor.static.rsample(generator), anchor.dynamic.rsample(generator)
    x, batch, length = model.decode(s, z), z.shape[0], z.shape[1]
    static = [Gaussian(anchor.static.mean[i], anchor.static.logvar[i]) for i in range(batch)]
    terms = dict.fromkeys(("reconstruction", "kl_static", "kl_dynamic"), 0.0)
    log_s, log_z = ([[0.0] * batch for _ in range(batch)] for _ in range(2))
    for i in range(batch):
        unit = Gaussian(torch.zeros_like(s[i]), torch.zeros_like(s[i]))
        terms["kl_static"] += float(kl_divergence(reference(static[i]), reference(unit))) / batch
        for t in range(length):
            terms["reconstruction"] += float((x[i, t] - v.anchor[i, t]).pow(2).sum()) / batch
            prefix = torch.cat([z[i : i + 1, :t], torch.zeros_like(z[:1, :1])], dim=1)  # the last step is not read
            prior = model.networks.dynamic_prior(prefix)
            p = Gaussian(prior.mean[0, t], prior.logvar[0, t])
            q = Gaussian(anchor.dynamic.mean[i, t], anchor.dynamic.logvar[i, t])
            terms["kl_dynamic"] += float(kl_divergence(reference(q), reference(p))) / batch
        for j in range(batch):
            log_s[i][j] = log_density(static[j], s[i])
            q = Gaussian(anchor.dynamic.mean[j], anchor.dynamic.logvar[j])
            log_z[i][j] = log_density(q, z[i])
    s_pair = anchor.static.mean, content.static.mean
    z_pair = anchor.dynamic.mean.flatten(1), motion.dynamic.mean.flatten(1)
    terms["mi_static"] = (cosine_contrast(*s_pair) + cosine_contrast(*s_pair[::-1])) / 2
    terms["mi_dynamic"] = (cosine_contrast(*z_pair) + cosine_contrast(*z_pair[::-1])) / 2
    both = [[a + b for a, b in zip(*rows, strict=True)] for rows in zip(log_s, log_z, strict=True)]
    terms["mi_between"] = entropy(log_s) + entropy(log_z) - entropy(both)
    return terms


@pytest.mark.parametrize(("variant", "side"), [("paper", 16), ("released", 64)])
def test_each_term_is_a_naive_loop_over_the_papers_formula(variant: Literal["paper", "released"], side: int) -> None:
    model, v = small_model((3, side, side), variant), views(side=side)
    for name, parameter in model.named_parameters():
        if not name.startswith(("encoder.", "decoder.", "dynamic_prior.", "z_prior_")):
            nn.init.normal_(parameter)  # latents that differ between clips, so that no term is near zero
    terms = model.loss(v, torch.Generator().manual_seed(3))
    expected = naive_terms(model, v, torch.Generator().manual_seed(3))
    assert min(abs(value) for value in expected.values()) > 1e-3
    for name, value in expected.items():
        assert getattr(terms, name).item() == pytest.approx(value, rel=1e-6), name


def test_permuted_features_are_those_of_the_shuffled_clip_gradients_included() -> None:
    model, v = small_model(), views()
    weights = torch.rand(5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def gradients(static: Gaussian) -> list[Tensor | None]:
        total = ((static.mean + static.logvar) * weights).sum()
        return list(torch.autograd.grad(total, list(model.parameters()), allow_unused=True))

    flat = networks(model).encoder(v.anchor.flatten(0, 1))
    permuted = networks(model).static_posterior(permute_time(flat.view(5, 4, -1), v.order))
    encoded = model.encode(shuffled(v.anchor, v.order)).static
    assert model.training
    assert_close((permuted.mean, permuted.logvar), (encoded.mean, encoded.logvar), rtol=1e-9, atol=1e-12)
    assert (model.encode(v.anchor).static.mean - encoded.mean).abs().max() > 1e-6  # the order does matter
    for one, other in zip(gradients(permuted), gradients(encoded), strict=True):
        if one is None or other is None:
            assert one is other
        else:
            assert_close(one, other, rtol=1e-6, atol=1e-9)


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
    model.loss(views(), torch.Generator().manual_seed(0)).total(LossWeights()).backward()  # type: ignore[no-untyped-call]
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-12]
    assert without == []


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 32, 32), (1, 64, 64), (3, 64, 64)])
def test_shapes_and_range(shape: tuple[int, int, int]) -> None:
    model = CDSVAE(frame_shape=shape, width=0.125, static_dim=20, dynamic_dim=4)
    posterior = model.encode(torch.rand(3, 5, *shape))
    assert posterior.static.mean.shape == posterior.static.logvar.shape == (3, 20)
    assert posterior.dynamic.mean.shape == posterior.dynamic.logvar.shape == (3, 5, 4)
    s, z = model.sample_static(2), model.sample_dynamic(2, 7)
    assert s.shape == (2, 20)
    assert z.shape == (2, 7, 4)
    x = model.decode(10 * s, 10 * z)
    assert x.shape == (2, 7, *shape)
    assert 0 <= x.min() < x.max() <= 1


def test_decoding_is_frame_by_frame() -> None:
    model = small_model().eval()
    s, z = model.sample_static(3), model.sample_dynamic(3, 5)
    x = model.decode(s, z)
    assert_close(x[1:2, 2:3], model.decode(s[1:2], z[1:2, 2:3]))


def test_the_generator_decides_samples_and_loss() -> None:
    model, v = small_model(), views()

    def draw(seed: int) -> list[Tensor]:
        g = torch.Generator().manual_seed(seed)
        return [model.sample_static(2, g), model.sample_dynamic(2, 3, g), model.loss(v, g).total(LossWeights())]

    for one, same, other in zip(draw(1), draw(1), draw(2), strict=True):
        assert_close(one, same)
        assert not torch.equal(one, other)


def test_the_running_statistics_are_those_of_the_anchor() -> None:
    model, v = small_model(), views()
    convolution, norm, *_ = networks(model).encoder.layers
    assert isinstance(norm, nn.BatchNorm2d)
    model.loss(v, torch.Generator().manual_seed(0))
    expected = convolution(v.anchor.flatten(0, 1)).mean((0, 2, 3))
    assert_close(norm.running_mean, 0.1 * expected)  # momentum 0.1, from zero
    assert norm.momentum == 0.1


def test_frames_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"frames are \[1, 16, 16\], the model was built for \[3, 16, 16\]"):
        small_model().encode(torch.rand(2, 4, 1, 16, 16))


def test_under_autocast_the_terms_stay_in_float32() -> None:
    model, v = small_model().float(), views()
    v = ThreeViews(v.anchor.float(), v.motion.float(), v.order)
    full: LossTerms = model.loss(v, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model.loss(v, torch.Generator().manual_seed(0))
    for field in fields(LossTerms):
        value = getattr(mixed, field.name)
        assert value.dtype == torch.float32
        assert_close(value, getattr(full, field.name), rtol=0.05, atol=0.02, msg=field.name)
