"""VideoMotion compared with Kornia's operators on the same parameters."""

import cmath
import math

import numpy as np
import pytest
import torch
from kornia.augmentation import AugmentationSequential, RandomResizedCrop
from kornia.color import rgb_to_yuv, yuv_to_rgb
from kornia.enhance import adjust_brightness, adjust_contrast, adjust_saturation_with_gray_subtraction
from kornia.filters import gaussian_blur2d
from kornia.geometry.transform import crop_and_resize
from scipy.ndimage import map_coordinates  # type: ignore[import-untyped]
from torch import Tensor

from seqviews.augment import VideoMotion

Params = dict[str, Tensor]
SEEDS = torch.arange(70, 76)
STILL = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}
PLAIN = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
SHARP = {"kernel_size": 1}
SOME_COLOUR = {"brightness": 0.2, "contrast": 0.3, "saturation": 0.5, "hue": 0.0}
SIZES = (None, (16, 33), (41, 9))
SMALL, LARGE = (20, 27), (60, 83)  # dense and banded matrices


def motion(**kwargs: object) -> VideoMotion:
    return VideoMotion(**kwargs)  # type: ignore[arg-type]


def clips(channels: int = 3, low: float = 0.0, high: float = 1.0, size: tuple[int, int] = SMALL) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return low + (high - low) * torch.rand(6, 4, channels, *size, generator=generator)


def kornia_crop(clip: Tensor, box: Tensor, size: tuple[int, int]) -> Tensor:
    left, top, width, height = (box * torch.tensor([clip.shape[3] - 1, clip.shape[2] - 1] * 2)).tolist()
    right, bottom = left + width, top + height
    corners = torch.tensor([[[left, top], [right, top], [right, bottom], [left, bottom]]]).expand(len(clip), -1, -1)
    return crop_and_resize(clip, corners, size, mode="bilinear", align_corners=True)


# Between 0.3 and 0.6 no step leaves [0, 1], so that Kornia's clamps between the steps have no effect.
@pytest.mark.parametrize(
    ("kwargs", "frame", "channels", "low", "high"),
    [
        *(
            ({"size": size, "scale": (0.2, 1.0), "ratio": (0.5, 2.0), **PLAIN, **SHARP}, SMALL, 3, 0, 1)
            for size in SIZES
        ),
        *(({**STILL, **PLAIN, "kernel_size": kernel, "sigma": (0.1, 3.0)}, SMALL, 3, 0, 1) for kernel in (3, 7, 39)),
        *(({"scale": (0.3, 1.0), **SOME_COLOUR, "sigma": (0.3, 2.0)}, SMALL, c, 0.3, 0.6) for c in (1, 3)),
        *(({"scale": (0.3, 1.0), **SOME_COLOUR, "sigma": (0.3, 2.0)}, LARGE, c, 0.3, 0.6) for c in (1, 3)),
    ],
)
def test_crop_colour_and_blur_are_kornias(
    kwargs: dict[str, object], frame: tuple[int, int], channels: int, low: float, high: float
) -> None:
    x, aug = clips(channels, low, high, frame), motion(**kwargs)
    params = aug.draw(SEEDS)
    y = aug(x, params)
    for b in range(6):
        clip = kornia_crop(x[b], params["crop"][b], aug.flags["size"] or frame)
        if kwargs.get("contrast"):
            clip = adjust_brightness(clip, params["brightness_factor"][b] - 1)
            clip = adjust_contrast(clip, params["contrast_factor"][b])
            clip = adjust_saturation_with_gray_subtraction(clip, params["saturation_factor"][b])
            assert 0 < clip.min() < clip.max() < 1
        if (side := aug.flags["kernel_size"]) > 1:
            clip = gaussian_blur2d(clip, (side, side), params["sigma"][b].expand(1, 2), border_type="reflect")
        torch.testing.assert_close(y[b], clip, rtol=0, atol=1e-4)


@pytest.mark.parametrize("frame", [SMALL, LARGE])
def test_stretched_crops_are_scipys_at_positions_integrated_step_by_step(frame: tuple[int, int]) -> None:
    x, aug = clips(size=frame), motion(scale=(0.3, 1.0), **PLAIN, **SHARP, stretch=0.9)
    params = aug.draw(SEEDS)
    y = aug(x, params)
    for b in range(6):
        left, top, width, height = params["crop"][b].double().tolist()
        axes = []
        for start, extent, pixels, waves in ((top, height, frame[0], 1), (left, width, frame[1], 0)):
            middles = (torch.arange(200 * (pixels - 1), dtype=torch.float64) + 0.5) / (200 * (pixels - 1))
            scale = torch.ones_like(middles)
            for k, (amplitude, phase) in enumerate(params["waves"][b, waves].double(), 1):
                scale += amplitude * (2 * torch.pi * k * middles + phase).cos()
            assert scale.min() > 0
            passed = torch.cat([torch.zeros(1), scale.cumsum(0)[199::200] / len(middles)])
            assert passed[-1] == pytest.approx(1)
            axes.append((start + extent * passed) * (pixels - 1))
        positions = torch.stack(torch.meshgrid(*axes, indexing="ij")).numpy()
        expected = map_coordinates(x[b, 1, 2].double().numpy(), positions, order=1, mode="nearest")
        torch.testing.assert_close(y[b, 1, 2].double(), torch.from_numpy(expected), rtol=0, atol=2e-3)


def test_crop_replays_random_resized_crop() -> None:
    """The whole-pixel boxes of Kornia's augmentation, in its default mode, give its image."""
    torch.manual_seed(0)
    kornia_aug = RandomResizedCrop((16, 18), scale=(0.2, 1.0))
    x = clips()
    expected = kornia_aug(x[:, 0])
    corners = kornia_aug._params["src"]
    box = torch.cat([corners[:, 0], corners[:, 2] - corners[:, 0]], dim=1) / torch.tensor([26, 19, 26, 19])
    aug = motion(size=(16, 18), **PLAIN, **SHARP)
    y = aug(x, {**aug.draw(SEEDS), "crop": box})
    torch.testing.assert_close(y[:, 0], expected, rtol=0, atol=1e-4)


def naive_colour(pixel: list[float], b: float, c: float, s: float, h: float) -> list[float]:
    """A pixel in float64, step by step: brightness, contrast, saturation, hue, clamp."""
    red, green, blue = (c * (v + b - 1) for v in pixel)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    red, green, blue = (luma + s * (v - luma) for v in (red, green, blue))
    u, v = 0.492 * (blue - luma), 0.877 * (red - luma)
    turned = complex(u, v) * cmath.exp(2j * math.pi * h)
    red, blue = luma + turned.imag / 0.877, luma + turned.real / 0.492
    green = (luma - 0.299 * red - 0.114 * blue) / 0.587
    return [min(max(value, 0.0), 1.0) for value in (red, green, blue)]


def test_colour_is_a_naive_loop() -> None:
    x, aug = clips(size=(4, 5)), motion(**STILL, **SHARP, brightness=0.9, contrast=0.9, saturation=0.9, hue=0.5)
    params = aug.draw(SEEDS)
    y = aug(x, params)
    assert (y == 0).any()
    assert (y == 1).any()
    names = ("brightness_factor", "contrast_factor", "saturation_factor", "hue_factor")
    for b, t, i, j in np.ndindex(6, 4, 4, 5):
        expected = naive_colour(x[b, t, :, i, j].tolist(), *(params[n][b].item() for n in names))
        np.testing.assert_allclose(y[b, t, :, i, j], expected, atol=1e-5)


def test_hue_rotates_kornias_yuv_in_the_direction_of_hsv() -> None:
    x, aug = clips(low=0.4, high=0.6), motion(**STILL, **SHARP, **{**PLAIN, "hue": 0.5})
    params = aug.draw(SEEDS)
    y = aug(x, params)
    for b in range(6):
        luma, u, v = rgb_to_yuv(x[b]).unbind(1)
        angle = 2 * math.pi * params["hue_factor"][b]
        u, v = u * angle.cos() - v * angle.sin(), u * angle.sin() + v * angle.cos()
        # Kornia rounds its coefficients to three places.
        torch.testing.assert_close(y[b], yuv_to_rgb(torch.stack([luma, u, v], 1)), rtol=0, atol=5e-3)
    red = torch.tensor([0.6, 0.4, 0.4]).view(1, 1, 3, 1, 1).expand(6, 1, 3, 4, 4)
    third = aug(red, {**params, "hue_factor": torch.full((6,), 1 / 3)})[0, 0, :, 0, 0]
    assert third.argmax() == 1  # a third of a turn takes red to green


@pytest.mark.parametrize("channels", [1, 3])
def test_neutral_parameters_change_nothing(channels: int) -> None:
    x = clips(channels)
    torch.testing.assert_close(motion(**STILL, **PLAIN, **SHARP)(x), x, rtol=0, atol=1e-5)
    torch.testing.assert_close(motion(p=0.0)(x), x, rtol=0, atol=1e-5)


def test_skipped_clips_are_unchanged_and_the_others_as_always() -> None:
    x, seeds = clips(), torch.arange(6)
    half, always = motion(p=0.5), motion(p=1.0)
    params = half.draw(seeds)
    keep = params["batch_prob"] > 0.5
    assert 0 < keep.sum() < 6
    y = half(x, params)
    torch.testing.assert_close(y[~keep], x[~keep], rtol=0, atol=1e-5)
    torch.testing.assert_close(y[keep], always(x, always.draw(seeds))[keep], rtol=0, atol=1e-6)
    assert abs(motion(p=0.3).draw(torch.arange(4000))["batch_prob"].mean() - 0.3) < 0.03


def test_one_draw_a_clip_shared_by_its_frames() -> None:
    frame = clips()[:1, :1]
    y = motion()(frame.expand(6, 4, -1, -1, -1), motion().draw(SEEDS))
    for t in range(1, 4):
        torch.testing.assert_close(y[:, t], y[:, 0], rtol=0, atol=1e-6)
    gaps = (y[:, None, 0] - y[None, :, 0]).abs().amax((2, 3, 4))
    assert gaps[~torch.eye(6, dtype=torch.bool)].min() > 0.01


def test_draws_fill_their_ranges() -> None:
    aug = motion(scale=(0.3, 0.9), ratio=(0.5, 2.0), brightness=(0.8, 1.1), contrast=0.3, hue=0.2, sigma=(0.5, 1.5))
    params = aug.draw(torch.arange(5000))
    ranges = {"brightness": (0.8, 1.1), "contrast": (0.7, 1.3), "saturation": (0.6, 1.4), "hue": (-0.2, 0.2)}
    left, top, width, height = params["crop"].double().unbind(1)
    measured = {n: (params[f"{n}_factor"], r) for n, r in ranges.items()} | {"sigma": (params["sigma"], (0.5, 1.5))}
    measured |= {"area": (width * height, (0.3, 0.9)), "ratio": (width / height, (0.5, 2.0))}
    for name, (value, (low, high)) in measured.items():
        slack = 0.01 * (high - low)
        assert low - 1e-5 <= value.min() < low + slack, name
        assert high - slack < value.max() <= high + 1e-5, name
    assert min(left.min(), top.min()) >= 0
    assert max((left + width).max(), (top + height).max()) <= 1 + 1e-6
    amplitude, phase = motion(stretch=0.4).draw(torch.arange(5000))["waves"].unbind(3)
    assert amplitude.abs().amax() <= 0.2
    assert amplitude.amin(0).max() < -0.195
    assert amplitude.amax(0).min() > 0.195
    assert phase.amax() < 2 * torch.pi < phase.amax() + 0.05
    assert (width < 1).double().mean() > 0.95  # no excess of boxes that touch both sides


def test_forward_alone_draws_from_torchs_generator_and_keeps_the_draw() -> None:
    x, aug = clips(), motion()
    torch.manual_seed(5)
    first = aug(x)
    assert torch.equal(aug(x, aug._params), first)
    assert not torch.allclose(aug(x), first)
    torch.manual_seed(5)
    assert torch.equal(aug(x), first)
    torch.manual_seed(5)
    assert torch.equal(AugmentationSequential(aug, data_keys=["input"])(x), first)


def test_any_memory_format_is_accepted_and_views_are_channels_last() -> None:
    x, aug = clips(), motion()
    stored = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    params = aug.draw(SEEDS)
    y = aug(stored, params)
    assert torch.equal(aug(x, params), y)
    assert y.permute(0, 1, 3, 4, 2).is_contiguous()
    assert torch.equal(stored, x)  # the clips are not modified


def test_invalid_ranges_and_clips() -> None:
    ranges = {"scale": (0.8, 1.2), "ratio": (1.2, 0.8), "brightness": 1.5, "contrast": (-0.1, 1.0), "hue": 0.6}
    for name, value in {**ranges, "sigma": (0.0, 1.0), "kernel_size": 4, "stretch": 1.0}.items():
        with pytest.raises(ValueError, match=name):
            motion(**{name: value})
    for x in (clips()[0], (clips() * 255).to(torch.uint8)):
        with pytest.raises(ValueError, match="takes float clips"):
            motion()(x)
    with pytest.raises(ValueError, match="does not fit"):
        motion()(clips(size=(3, 20)))
