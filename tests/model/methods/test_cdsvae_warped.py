"""What the warped C-DSVAE does otherwise: its error, what is decoded, and where s is measured from."""

import pytest
import torch
from naive_networks import contrast
from torch.testing import assert_close

from seqviews.augment import MultiView, TemporalShuffle, VideoMotion
from seqviews.augment.views import Views
from seqviews.model.methods.cdsvae_warped import WarpedCDSVAE

SIZES = {"static_dim": 6, "dynamic_dim": 3, "feature_dim": 8, "hidden_dim": 12}


def model(**arguments: float | str) -> WarpedCDSVAE:
    torch.manual_seed(0)
    return WarpedCDSVAE(frame_shape=(1, 16, 16), width=0.125, **SIZES, **arguments).double()  # type: ignore[arg-type]


def views() -> Views:
    x = torch.rand(5, 4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    made = MultiView(VideoMotion(), TemporalShuffle())(x, torch.arange(5))
    assert made.motion is not None
    return Views(x.double(), made.motion.double(), made.order)


@torch.no_grad()
def test_terms_compare_the_views_and_decode_the_anchor() -> None:
    method, v, generator = model(change_weight=7.0), views(), torch.Generator().manual_seed(3)
    terms = method.loss(v, generator=torch.Generator().manual_seed(3)).terms
    assert v.motion is not None
    anchor, content, motion = method.encode(v.anchor), method.encode(v.content), method.encode(v.motion)
    decoded = method.decode(anchor.static.rsample(generator), anchor.dynamic.rsample(generator))
    total = 0.0
    for clip in (v.anchor - decoded).flatten(2):
        for pixel in clip.T.tolist():
            mean = sum(pixel) / 4
            total += 4 * mean**2 + 7 * sum((error - mean) ** 2 for error in pixel)
    assert terms["reconstruction"].item() == pytest.approx(total / 5, rel=1e-6)
    kl = 0.5 * (anchor.static.mean**2 + anchor.static.logvar.exp() - 1 - anchor.static.logvar).sum(1).mean()
    assert_close(terms["kl_static"], kl)
    assert terms["mi_static"].item() == pytest.approx(contrast(anchor.static.mean, content.static.mean), rel=1e-6)
    of_both = contrast(anchor.dynamic.mean.flatten(1), motion.dynamic.mean.flatten(1))
    assert terms["mi_dynamic"].item() == pytest.approx(of_both, rel=1e-6)


@torch.no_grad()
def test_the_error_of_a_padded_batch_is_the_mean_of_those_of_its_records_alone() -> None:
    method, lengths = model(change_weight=7.0), torch.tensor([4, 2, 1])
    anchor, decoded = torch.rand(2, 3, 4, 1, 16, 16).double()
    alone = [method._error(decoded[i : i + 1, :n], anchor[i : i + 1, :n], None) for i, n in enumerate(lengths.tolist())]
    for x in (anchor, decoded):
        x[1, 2:], x[2, 1:] = 0, 0
    assert_close(method._error(decoded, anchor, lengths), torch.stack(alone).mean())


def test_ablations_without_views_do_not_depend_on_them() -> None:
    v = views()
    plain = Views(v.anchor)
    for ablation in ("dsvae", "all-mws"):
        method = model(ablation=ablation)
        losses = [method.loss(x, generator=torch.Generator().manual_seed(0)).total for x in (plain, v)]
        assert_close(*losses)


def test_speech_is_an_error() -> None:
    with pytest.raises(ValueError, match="networks for clips only"):
        WarpedCDSVAE(frame_shape=(80,))


@torch.no_grad()
def test_in_evaluation_s_is_measured_from_its_running_mean_and_nothing_else_changes() -> None:
    method, v = model(), views()
    means = []
    for _ in range(3):
        method.loss(v)
        means.append(method.encode(v.anchor).static.mean.mean(0))  # of the batch that the loss saw
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
