"""The modulated decoder, against the formula in its docstring."""

import torch
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d
from torch.testing import assert_close

from seqviews.model.layers.clips import ClipDecoder
from seqviews.model.layers.modulated import ModulatedDecoder


def test_a_frame_is_the_formula_with_s_in_every_stage() -> None:
    torch.manual_seed(0)
    decoder = ModulatedDecoder((3, 32, 32), 6, 4, width=0.25).double()
    s, z = torch.randn(5, 6, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    weights = dict(decoder.named_parameters())
    maps = (z @ weights["project.weight"].T).view(5, 4, 4, -1).permute(0, 3, 1, 2)
    for i, stride in enumerate((2, 1, 2, 2)):
        maps = (maps - maps.mean((0, 2, 3), keepdim=True)) / (
            maps.var((0, 2, 3), correction=0, keepdim=True) + 1e-5
        ).sqrt()
        modulation = s @ weights[f"modulations.{i}.weight"].T + weights[f"modulations.{i}.bias"]
        scale, shift = modulation[:, : maps.shape[1], None, None], modulation[:, maps.shape[1] :, None, None]
        maps = ((1 + scale) * maps + shift).clamp_min(0)
        apply = conv_transpose2d if stride == 2 else conv2d
        maps = apply(maps, weights[f"layers.{i}.weight"], weights.get(f"layers.{i}.bias"), stride, 1)
    assert_close(decoder(torch.cat([s, z], 1)), torch.sigmoid(maps), rtol=1e-9, atol=1e-12)


def test_it_has_the_stages_of_the_clip_decoder() -> None:
    def stages(decoder: nn.Module) -> list[torch.Size]:
        kinds = (nn.Conv2d, nn.ConvTranspose2d)
        return [layer.weight.shape for layer in decoder.modules() if isinstance(layer, kinds)]

    for side in (16, 32, 64, 128):
        decoder = ModulatedDecoder((1, side, side), 6, 4, width=0.125)
        assert stages(decoder) == stages(ClipDecoder((1, side, side), 10, width=0.125))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            frames = decoder(torch.randn(3, 10))
        assert frames.shape == (3, 1, side, side)
        assert frames.dtype == torch.float32
        assert 0 <= frames.min() < frames.max() <= 1
