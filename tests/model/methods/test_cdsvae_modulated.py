"""What the modulated C-DSVAE does otherwise: s of the content view is decoded; the rest is the paper's objective."""

import pytest
import torch
from naive_networks import autoencoding, contrast
from torch.testing import assert_close

from seqviews.augment import MultiView, ShiftedShuffle, VideoMotion
from seqviews.augment.views import Views
from seqviews.model.methods.cdsvae_modulated import ModulatedCDSVAE

SIZES = {"static_dim": 6, "dynamic_dim": 3, "feature_dim": 8, "hidden_dim": 12}


def model(**arguments: float | str) -> ModulatedCDSVAE:
    torch.manual_seed(0)
    return ModulatedCDSVAE(frame_shape=(1, 16, 16), width=0.125, **SIZES, **arguments).double()  # type: ignore[arg-type]


def views() -> Views:
    x = torch.rand(5, 4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    made = MultiView(VideoMotion(), ShiftedShuffle(3))(x, torch.arange(5))
    assert made.motion is not None
    return Views(x.double(), made.motion.double(), made.order, changed_content=made.content.double())


@torch.no_grad()
def test_terms_are_of_the_s_of_the_content_view_and_the_z_of_the_anchor() -> None:
    method, v, generator = model(), views(), torch.Generator().manual_seed(3)
    terms = method.loss(v, generator=torch.Generator().manual_seed(3)).terms
    assert v.motion is not None
    anchor, content, motion = method.encode(v.anchor), method.encode(v.content), method.encode(v.motion)
    s, z = content.static.rsample(generator), anchor.dynamic.rsample(generator)
    mixed = autoencoding(method, v.anchor, s, z)
    assert terms["reconstruction"].item() == pytest.approx(mixed["reconstruction"], rel=1e-6)
    kl = 0.5 * (content.static.mean**2 + content.static.logvar.exp() - 1 - content.static.logvar).sum(1).mean()
    assert_close(terms["kl_static"], kl)
    assert terms["mi_static"].item() == pytest.approx(contrast(anchor.static.mean, content.static.mean), rel=1e-6)
    of_both = contrast(anchor.dynamic.mean.flatten(1), motion.dynamic.mean.flatten(1))
    assert terms["mi_dynamic"].item() == pytest.approx(of_both, rel=1e-6)


@torch.no_grad()
def test_a_swap_is_told_by_its_s() -> None:
    method, v, generator = model(beta_swap=3.0, temperature_swap=0.3), views(), torch.Generator().manual_seed(3)
    method.eval()
    loss = method.loss(v, generator=torch.Generator().manual_seed(3))
    static, dynamic = method.encode(v.content).static, method.encode(v.anchor).dynamic
    s, z = static.rsample(generator), dynamic.rsample(generator)
    means = []
    for i in range(5):
        frames = [method.decode_frames(s[i - 1][None], z[i, t][None]) for t in (0, 1, 2, 2, 3)]
        means.append(method.encode(torch.stack(frames, 1)).static.mean[0])
    others = [static.mean[i - 1] for i in range(5)]
    expected = contrast(torch.stack(means), torch.stack(others), 0.3)
    assert loss.terms["swap_static"].item() == pytest.approx(expected, rel=1e-6)
    without = model(beta_swap=0.0).eval().loss(v, generator=torch.Generator().manual_seed(3))
    assert_close(loss.total, without.total - 3.0 * loss.terms["swap_static"])


def test_the_gradient_of_a_swap_reaches_its_latents_and_the_decoder_but_not_what_encodes_it() -> None:
    method, v = model(), views()
    s, z = torch.randn(5, 6).double().requires_grad_(), torch.randn(5, 4, 3).double().requires_grad_()
    static = method.encode(v.anchor).static
    method._further_terms(static, s, z, None)["swap_static"].backward()  # type: ignore[no-untyped-call]
    assert s.grad is not None
    assert z.grad is not None
    assert min(s.grad.abs().amin(), z.grad.abs().amin()) > 0
    reached = {name.split(".")[0] for name, weight in method.named_parameters() if weight.grad is not None}
    assert reached == {"decoder"}


def test_padding_is_not_swapped() -> None:
    method = model().eval()
    static = method.encode(torch.rand(3, 7, 1, 16, 16).double()).static
    s, z = torch.randn(3, 6).double(), torch.randn(3, 7, 3).double()
    of_five = method._further_terms(static, s, z[:, :5], None)
    z[:, 5:] = 9
    assert_close(method._further_terms(static, s, z, torch.tensor([5, 5, 5])), of_five)


def test_without_a_content_view_s_is_of_the_anchor() -> None:
    v = views()
    plain = Views(v.anchor)
    for ablation in ("dsvae", "all-mws"):
        method = model(ablation=ablation)
        losses = [method.loss(x, generator=torch.Generator().manual_seed(0)).total for x in (plain, v)]
        assert_close(*losses)


def test_speech_is_an_error() -> None:
    with pytest.raises(ValueError, match="networks for clips only"):
        ModulatedCDSVAE(frame_shape=(80,))


@torch.no_grad()
def test_in_evaluation_s_is_measured_from_its_running_mean_and_nothing_else_changes() -> None:
    method, v = model(), views()
    means = []
    for _ in range(3):
        method.loss(v)
        means.append(method.encode(v.content).static.mean.mean(0))  # of the batch that the loss saw
    expected = 0.01 * sum(0.99 ** (2 - step) * mean for step, mean in enumerate(means))
    assert isinstance(expected, torch.Tensor)
    assert_close(method.static_centre, expected, check_dtype=False)
    method.eval()
    method.static_centre.normal_()
    posterior = method.encode(v.anchor)
    decoded = method.decode(posterior.static.mean, posterior.dynamic.mean)
    uncentred = posterior.static.mean + method.static_centre
    method.static_centre.zero_()
    assert_close(method.encode(v.anchor).static.mean, uncentred)
    assert_close(method.decode(uncentred, posterior.dynamic.mean), decoded)
    before = method.static_centre.clone()
    method.loss(v)  # a validation
    assert_close(method.static_centre, before)
