import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqviews.model.layers.clips import ClipDecoder, ClipEncoder, stage_channels


def convolution_outputs(network: nn.Module, x: Tensor) -> list[tuple[int, ...]]:
    """[C, H, W] after each convolution, in the order they run."""
    shapes: list[tuple[int, ...]] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    network(x)
    return shapes


def test_width_one_is_the_paper() -> None:
    encoder, decoder = ClipEncoder((3, 64, 64), 128), ClipDecoder((3, 64, 64), 288)
    stages = [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
    assert convolution_outputs(encoder, torch.rand(2, 3, 64, 64)) == stages
    assert [layer.weight.shape for layer in encoder.modules() if isinstance(layer, nn.Linear)] == [(128, 512 * 4 * 4)]
    assert decoder.project.out_features == 512 * 4 * 4
    stages = [(256, 8, 8), (128, 16, 16), (128, 16, 16), (64, 32, 32), (3, 64, 64)]
    assert convolution_outputs(decoder, torch.rand(2, 288)) == stages


@pytest.mark.parametrize("side", [16, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_ranges(side: int, channels: int) -> None:
    shape = (channels, side, side)
    features = ClipEncoder(shape, 128, width=0.125)(torch.rand(4, *shape))
    frames = ClipDecoder(shape, 20, width=0.125)(5 * torch.randn(4, 20))
    assert features.shape == (4, 128)
    assert frames.shape == (4, *shape)
    assert features.abs().max() <= 1
    assert 0 <= frames.min() < frames.max() <= 1


def test_stages_follow_the_side_and_the_width() -> None:
    assert stage_channels((3, 64, 64), 1.0) == [64, 128, 256, 512]
    assert stage_channels((1, 32, 32), 1.0) == [64, 128, 256]
    assert stage_channels((1, 128, 128), 0.25) == [16, 32, 64, 128, 128]
    assert stage_channels((1, 16, 16), 0.01) == [8, 8]


def test_other_frames_and_a_width_that_is_not_positive_are_errors() -> None:
    for height, width in ((64, 32), (48, 48), (8, 8), (256, 256)):
        with pytest.raises(ValueError, match=f"frames are {height} x {width} pixels"):
            ClipEncoder((3, height, width), 128)
    with pytest.raises(ValueError, match="width is 0"):
        ClipDecoder((3, 64, 64), 288, width=0)


def test_the_layout_in_memory_does_not_change_the_features() -> None:
    encoder = ClipEncoder((3, 16, 16), 16, width=0.125).double()
    frames = torch.rand(6, 3, 16, 16, dtype=torch.float64)
    assert_close(encoder(frames.contiguous()), encoder(frames.contiguous(memory_format=torch.channels_last)))
