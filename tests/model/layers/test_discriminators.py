"""Shapes of discriminators, what they see, and gradients under autocast."""

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqviews.model.layers.discriminators import ImageDiscriminator, LatentDiscriminator, VideoDiscriminator


def clips(length: int, side: int = 16) -> Tensor:
    return torch.rand(8, length, 1, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("side", [16, 64])
def test_logits_of_patches_frames_and_categories(side: int) -> None:
    assert ImageDiscriminator((1, side, side), 0.125)(clips(1, side)[:, 0]).shape == (8, 4, 4)
    for length in (1, 2, 5):  # short clips, too
        real, category = VideoDiscriminator((1, side, side), 3, 0.125)(clips(length, side))
        assert (real.shape, category.shape) == ((8, length), (8, 3))
    assert LatentDiscriminator(5)(torch.rand(8, 5)).shape == (8,)


def test_the_order_of_frames_matters_to_that_of_videos() -> None:
    torch.manual_seed(0)
    model, x = VideoDiscriminator((1, 16, 16), 0, 0.125).eval(), clips(4)
    assert (model(x)[0].mean(1) - model(x.flip(1))[0].mean(1)).abs().max() > 1e-5
    assert_close(model(x[:2])[0], model(x)[0][:2])


def test_gradients_under_autocast_are_those_in_float32() -> None:
    """Also where torch's bfloat16 kernel gives infinite ones: 8 to 16 channels, 2 frames of 8 x 8."""
    torch.manual_seed(0)
    models: list[tuple[nn.Module, Tensor]] = [
        (VideoDiscriminator((1, 16, 16), 0, 0.125), clips(2)),
        (ImageDiscriminator((1, 16, 16), 0.125), clips(1)[:, 0]),
    ]
    for model, x in models:
        norms = []
        for enabled in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                logits = model(x)
            logits = logits[0] if isinstance(logits, tuple) else logits
            norms.append([g.norm() for g in torch.autograd.grad(logits.square().mean(), list(model.parameters()))])
        assert_close(norms[1], norms[0], rtol=0.05, atol=1e-3)
