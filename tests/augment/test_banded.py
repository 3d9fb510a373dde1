"""Banded crops and blurs compared with a naive loop over taps and pixels, and in VideoMotion."""

import math
from collections.abc import Callable

import pytest
import torch
from kornia.filters import get_gaussian_kernel1d
from torch import Tensor

from seqviews.augment import VideoMotion, video
from seqviews.augment.banded import Band, crop_and_blur, resample, window_width, with_colour

# The whole frame, both borders, in between, a single pixel's width.
START = torch.tensor([0.0, 0.0, 0.4, 0.13, 0.97], dtype=torch.float64)
EXTENT = torch.tensor([1.0, 0.6, 0.6, 0.55, 0.03], dtype=torch.float64)
SIGMA = torch.tensor([[1e-3], [0.3], [1.0], [2.0], [5.0]], dtype=torch.float64)
KERNELS = {taps: get_gaussian_kernel1d(taps, SIGMA) for taps in (1, 7, 23)}


def naive_matrices(kernel: Tensor, size: int, new_size: int) -> Tensor:
    """`[B, new_size, size]` in float64: each tap of the blur is a pixel of the crop, between two of the frame."""
    matrices = torch.zeros(len(kernel), new_size, size, dtype=torch.float64)
    radius = kernel.shape[1] // 2
    for b, matrix in enumerate(matrices):
        for i in range(new_size):
            for tap in range(-radius, radius + 1):
                pixel = abs(i + tap)
                pixel = 2 * (new_size - 1) - pixel if pixel >= new_size else pixel
                at = (START[b] + EXTENT[b] * pixel / (new_size - 1)).item() * (size - 1)
                left = min(math.floor(at), size - 2)
                matrix[i, left] += kernel[b, tap + radius].item() * (left + 1 - at)
                matrix[i, left + 1] += kernel[b, tap + radius].item() * (at - left)
    return matrices


def as_dense(band: Band, new_size: int, size: int) -> Tensor:
    weights = band.weights
    dense = torch.zeros(*weights.shape[:3], size, dtype=weights.dtype)
    for b, block in torch.cartesian_prod(torch.arange(weights.shape[0]), torch.arange(weights.shape[1])).tolist():
        start = int(band.starts[b, block])
        dense[b, block, :, start : start + weights.shape[3]] = weights[b, block]
    return dense.flatten(1, 2)[:, :new_size]


@pytest.mark.parametrize(("size", "new_size"), [(60, 60), (101, 53), (40, 97), (24, 24), (200, 24)])
@pytest.mark.parametrize("taps", KERNELS)
def test_banded_and_dense_matrices_are_a_naive_loop(taps: int, size: int, new_size: int) -> None:
    expected = naive_matrices(KERNELS[taps], size, new_size)
    for rows in (None, 16, 5):
        band = crop_and_blur(KERNELS[taps], START, EXTENT, size, new_size, rows)
        torch.testing.assert_close(as_dense(band, new_size, size), expected, rtol=0, atol=1e-10)
        assert band.weights.shape[3] == window_width(taps, size, new_size, band.weights.shape[2])
        assert band.weights.shape[1] == (1 if rows is None else math.ceil(new_size / rows))


@pytest.mark.parametrize(("channels", "frame", "size"), [(3, (60, 83), (60, 83)), (1, (50, 44), (37, 71))])
def test_views_and_gradients_are_a_naive_product(channels: int, frame: tuple[int, int], size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(5, 2, channels, *frame, generator=generator, dtype=torch.float64, requires_grad=True)
    colour = torch.rand(5, channels, channels, generator=generator, dtype=torch.float64)
    matrices = [naive_matrices(KERNELS[7], *axis) for axis in zip(frame, size, strict=True)]
    recoloured = torch.einsum("bij,btjhw->btihw", colour, x)
    expected = matrices[0][:, None, None] @ recoloured @ matrices[1][:, None, None].mT
    rows, columns = (crop_and_blur(KERNELS[7], START, EXTENT, *axis, 16) for axis in zip(frame, size, strict=True))
    y = resample(x, rows, with_colour(columns, colour), size)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-10)
    weight = torch.rand(y.shape, generator=generator, dtype=torch.float64)
    gradients = [torch.autograd.grad((weight * view).sum(), x)[0] for view in (y, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("side", "kernel_size", "size", "banded"), [
    (64, 7, None, True), (32, 7, None, False), (64, 39, None, False), (112, 23, None, True), (96, 7, (64, 64), True),
])  # fmt: skip
def test_bands_are_for_windows_of_at_most_half_a_frame(
    monkeypatch: pytest.MonkeyPatch, side: int, kernel_size: int, size: tuple[int, int] | None, banded: bool
) -> None:
    """Either way the view is that of the other way, of a part of the clips and of the frames as of all."""
    calls: list[torch.Size] = []

    def counted(x: Tensor, *args: object) -> Tensor:
        calls.append(x.shape)
        return original(x, *args)

    original: Callable[..., Tensor] = resample
    monkeypatch.setattr(video, "resample", counted)
    motion, x = VideoMotion(size, kernel_size=kernel_size, scale=(0.3, 1.0)), torch.rand(3, 2, 3, side, side)
    params = motion.draw(torch.arange(3))
    view = motion(x, params)
    assert bool(calls) == banded
    with monkeypatch.context() as other:
        other.setattr(video, "window_width", lambda *args, **kwargs: side if banded else 0)
        torch.testing.assert_close(motion(x, params), view, rtol=0, atol=1e-5)
    calls.clear()
    monkeypatch.setattr(video, "PIXELS_IN_CACHE", side**2)
    torch.testing.assert_close(motion(x, params), view, rtol=0, atol=1e-6)
    assert all(shape[:2] == (1, 1) for shape in calls)


@pytest.mark.parametrize(("dtype", "gap"), [(torch.float64, 1e-5), (torch.float16, 5e-3), (torch.bfloat16, 4e-2)])
def test_other_dtypes_give_the_view_of_float32_up_to_rounding(dtype: torch.dtype, gap: float) -> None:
    x, motion = torch.rand(2, 2, 3, 64, 70), VideoMotion()
    params = motion.draw(torch.arange(2))
    view = motion(x.to(dtype), params)
    assert view.dtype == dtype
    torch.testing.assert_close(view.float(), motion(x, params), rtol=0, atol=gap)
