"""The warped decoder, against scipy's interpolation at positions computed one by one."""

import pytest
import torch
from scipy.ndimage import map_coordinates  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from seqviews.model.layers.warped import WarpedDecoder


def random_decoder(side: int = 16) -> WarpedDecoder:
    """One whose fields and maps are not the zeros they start from, in float64, in evaluation mode."""
    torch.manual_seed(0)
    decoder = WarpedDecoder((3, side, side), 6, 4, width=0.125).double().eval()
    for layer in (decoder.field, decoder.affine):
        torch.nn.init.normal_(layer.weight, std=0.5)
        assert layer.bias is not None
        torch.nn.init.normal_(layer.bias, std=0.5)
    return decoder


def at(image: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """An image `[H, H]` at positions `[H, H]` in [-1, 1], between the edges of its outermost pixels."""
    pixels = [((position + 1) * len(image) - 1) / 2 for position in (rows, columns)]
    return torch.from_numpy(map_coordinates(image.numpy(), torch.stack(pixels).numpy(), order=1, mode="nearest"))


@torch.no_grad()
def test_a_frame_is_the_images_deformed_weighted_and_moved() -> None:
    decoder, s, z = random_decoder(), torch.randn(2, 6).double(), torch.randn(2, 3, 4).double()
    clips = decoder(s, z)
    images = decoder.images(s).view(2, 3, 3, 16, 16)
    centres = (torch.arange(16).double() * 2 + 1) / 16 - 1
    rows, columns = torch.meshgrid(centres, centres, indexing="ij")
    for clip, frame in ((0, 0), (0, 2), (1, 1)):
        maps = decoder.motion(z[clip, frame][None])
        field = functional.interpolate(0.2 * decoder.field(maps), (16, 16), mode="bilinear")[0]
        weights = functional.interpolate(decoder.weights(maps), (16, 16), mode="bilinear")[0]
        a = torch.eye(2, 3).double() + 0.2 * decoder.affine(z[clip, frame]).view(2, 3)
        assert field.abs().max() > 0.1
        for channel in range(3):
            total = torch.zeros(16, 16).double()
            for weight, image in zip((torch.ones(16, 16), *weights), images[clip], strict=True):
                total += weight * at(image[channel], columns + field[0], rows + field[1])
            moved = at(
                torch.sigmoid(total),
                a[0, 0] * columns + a[0, 1] * rows + a[0, 2],
                a[1, 0] * columns + a[1, 1] * rows + a[1, 2],
            )
            assert_close(clips[clip, frame, channel], moved, rtol=0, atol=1e-6)


@torch.no_grad()
def test_it_starts_without_a_deformation() -> None:
    torch.manual_seed(0)
    decoder = WarpedDecoder((1, 32, 32), 6, 4, width=0.125).eval()
    decoder.weights.weight.zero_()
    s = torch.randn(2, 6)
    expected = torch.sigmoid(decoder.images(s)[:, None, :1]).expand(-1, 3, -1, -1, -1)
    decoder.weights.bias.zero_()  # type: ignore[union-attr]
    assert_close(decoder(s, torch.randn(2, 3, 4)), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_padding_affects_no_record() -> None:
    decoder = random_decoder().train()
    s, z, lengths = torch.randn(3, 6).double(), torch.randn(3, 5, 4).double(), torch.tensor([5, 2, 3])
    clips = decoder(s, z, lengths)
    z[1, 2:], z[2, 3:] = 7, -9
    other = decoder(s, z, lengths)
    for i, length in enumerate(lengths):
        assert_close(clips[i, :length], other[i, :length])
    assert_close(decoder.eval()(s, z, lengths)[1, :2], decoder(s[1:2], z[1:2, :2])[0])


@pytest.mark.parametrize("side", [16, 32, 64, 128])
def test_frames_of_every_side_in_their_own_dtype(side: int) -> None:
    decoder = WarpedDecoder((1, side, side), 6, 4, width=0.125)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        clips = decoder(torch.randn(2, 6), torch.randn(2, 3, 4))
    assert clips.shape == (2, 3, 1, side, side)
    assert clips.dtype == torch.float32
    assert 0 <= clips.min() < clips.max() <= 1
