"""How the C-DSVAE of objects differs: s is inferred at the positions of z; the rest is the paper's objective."""

import pytest
import torch
from naive_networks import autoencoding, contrast
from torch import Tensor
from torch.testing import assert_close

from seqviews.augment.views import Views
from seqviews.model.gaussian import Gaussian
from seqviews.model.methods.cdsvae_objects import ObjectCDSVAE

SIZES = {"static_dim": 6, "feature_dim": 8, "hidden_dim": 12, "window": 5}


def model(**arguments: float | str) -> ObjectCDSVAE:
    torch.manual_seed(0)
    return ObjectCDSVAE(frame_shape=(1, 16, 16), width=0.125, **(SIZES | arguments)).double()  # type: ignore[arg-type]


def views() -> Views:
    generator = torch.Generator().manual_seed(0)
    x, motion = torch.rand(2, 5, 4, 1, 16, 16, generator=generator, dtype=torch.float64)
    return Views(x, motion, torch.rand(5, 4, generator=generator).argsort(1))


@torch.no_grad()
def test_terms_are_of_the_s_of_the_content_view_and_the_z_of_the_anchor() -> None:
    method, v, generator = model().eval(), views(), torch.Generator().manual_seed(3)
    terms = method.loss(v, generator=torch.Generator().manual_seed(3)).terms
    assert v.motion is not None
    assert v.order is not None
    shuffled = torch.stack([clip[order] for clip, order in zip(v.anchor, v.order, strict=True)])
    anchor, content, motion = method.encode(v.anchor), method.encode(shuffled), method.encode(v.motion)
    s, z = content.static.rsample(generator), anchor.dynamic.rsample(generator)
    assert terms["reconstruction"].item() == pytest.approx(
        autoencoding(method, v.anchor, s, z)["reconstruction"], rel=1e-6
    )
    kl = 0.5 * (content.static.mean**2 + content.static.logvar.exp() - 1 - content.static.logvar).sum(1).mean()
    assert_close(terms["kl_static"], kl)
    assert terms["mi_static"].item() == pytest.approx(contrast(anchor.static.mean, content.static.mean), rel=1e-6)
    of_both = contrast(anchor.dynamic.mean.flatten(1), motion.dynamic.mean.flatten(1))
    assert terms["mi_dynamic"].item() == pytest.approx(of_both, rel=1e-6)


def test_without_a_content_view_s_is_of_the_anchor() -> None:
    v = views()
    for ablation in ("dsvae", "all-mws"):
        method = model(ablation=ablation)
        losses = [method.loss(x, generator=torch.Generator().manual_seed(0)).total for x in (Views(v.anchor), v)]
        assert_close(*losses)


def clip_of(objects: Tensor, corners: Tensor) -> Tensor:
    """Objects `[K, 5, 5]` on black, their windows' (column, row) at `[T, K, 2]`: a clip `[1, T, 1, 16, 16]`."""
    clip = torch.zeros(1, len(corners), 1, 16, 16, dtype=objects.dtype)
    for frame, positions in zip(clip[0, :, 0], corners.tolist(), strict=True):
        for shape, (column, row) in zip(objects, positions, strict=True):
            frame[row : row + 5, column : column + 5] += shape
    return clip


@torch.no_grad()
def test_s_depends_on_the_objects_and_not_on_their_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    method = model().eval()
    objects = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def static(corners: Tensor, seen: Tensor) -> Tensor:
        monkeypatch.setattr(method.decoder, "positions", lambda z: (corners + 2.0).double()[None])
        return method.encode(clip_of(seen, corners)).static.mean.view(2, 3)

    here = static(torch.tensor([[[0, 0], [9, 9]], [[1, 2], [8, 11]]]), objects)
    assert_close(static(torch.tensor([[[11, 3], [2, 10]], [[0, 0], [6, 6]]]), objects), here)
    other = static(torch.tensor([[[0, 0], [9, 9]], [[1, 2], [8, 11]]]), objects.flip(0))
    assert_close(other, here.flip(0))  # the same network for each object
    assert (here[0] - here[1]).abs().max() > 1e-3


@torch.no_grad()
def test_an_object_keeps_its_part_of_z_when_the_lstm_changes_the_order() -> None:
    method = model().eval()
    objects = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    corners = torch.tensor([[0, 0], [9, 9]]) + torch.tensor([[[0, 0]], [[1, 2]], [[0, 1]]])
    z = torch.atanh((corners + 2.0).double() / 7.5 - 1)
    found = torch.stack([z[0], z[1].flip(0), z[2]]).flatten(1)[None]  # as an LSTM that sorts by position finds them
    method.dynamic_posterior.forward = lambda features: Gaussian(found, found)  # type: ignore[method-assign]
    dynamic = method.encode(clip_of(objects, corners)).dynamic
    darker_first = z if objects[0].sum() < objects[1].sum() else z.flip(1)
    for part in (dynamic.mean, dynamic.logvar):
        assert_close(part.view(3, 2, 2), darker_first)


@torch.no_grad()
def test_a_frame_is_decoded_as_in_its_clip() -> None:
    method = model()
    s, z = torch.randn(3, 6).double(), torch.randn(3, 4, 4).double()
    assert_close(method.decode_frames(s, z[:, 2]), method.decode(s, z)[:, 2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frame_shape": (80,)}, "networks for clips only"),
        ({"static_dim": 7}, "static_dim is 7: it must be a multiple of the 2"),
        ({"objects": 0}, "objects is 0: it must be from 1 to 3"),
        ({"objects": 4, "static_dim": 8}, "objects is 4"),
        ({"window": 17}, "window is 17: it must be from 1 to the 16 pixels"),
    ],
)
def test_impossible_sizes_are_errors(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectCDSVAE(**{"frame_shape": (1, 16, 16), "width": 0.125, **SIZES, **arguments})  # type: ignore[arg-type]
