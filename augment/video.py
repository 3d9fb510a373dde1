"""Motion views of clips: another crop, colour and sharpness, the same motion."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from kornia.augmentation import AugmentationBase3D
from kornia.filters import get_gaussian_kernel1d
from torch import Tensor

from seqviews.augment.banded import BLOCK, Band, crop_and_blur, resample, window_width, with_colour
from seqviews.augment.draws import Purpose, fresh_seeds, uniform

Range = tuple[float, float]
Params = dict[str, Tensor]

# Luma as in Kornia's rgb_to_grayscale; U and V are scaled differences of blue and red from it.
_LUMA = (0.299, 0.587, 0.114)
_U, _V = 0.492, 0.877
_TO_YUV = torch.tensor(
    [
        _LUMA,
        [-_U * _LUMA[0], -_U * _LUMA[1], _U * (1 - _LUMA[2])],
        [_V * (1 - _LUMA[0]), -_V * _LUMA[1], -_V * _LUMA[2]],
    ],
    dtype=torch.float64,
)
_FROM_YUV = _TO_YUV.inverse()
PIXELS_IN_CACHE = 2**17  # 1.5 MB of colours in float32
_POINT = 1e-3  # the sigma, in pixels, of a blur that is exactly the identity
_NEUTRAL: dict[str, float | tuple[float, ...]] = {
    "crop": (0.0, 0.0, 1.0, 1.0),
    "waves": 0.0,
    "brightness_factor": 1.0,
    "contrast_factor": 1.0,
    "saturation_factor": 1.0,
    "hue_factor": 0.0,
    "sigma": _POINT,
}


class VideoMotion(AugmentationBase3D):
    """Random crop and resize, colour and Gaussian blur of whole clips, fused; one draw per clip, shared by its frames.

    Equivalent to Kornia's `VideoSequential(RandomResizedCrop, ColorJiggle, RandomGaussianBlur)`, under Kornia's
    parameter names, and several times faster. Crop, resize and blur are linear and separable: one matrix per clip for
    the rows and one for the columns, banded where that is faster. Colour is one affine map of the pixel per clip. There
    is no flip, as it would change the direction of the motion [P 2.3].

    - Crop: bilinear, corner pixels aligned, at sub-pixel positions: Kornia's `crop_and_resize` of the same box. With
      `stretch` the scale changes smoothly along each axis, so that proportions differ, for example those of a face; not
      in Kornia.
    - Brightness adds `factor - 1`, contrast multiplies (black stays black), as in `ColorJiggle`; saturation blends
      with the luma, as in `ColorJitter`; always in this order, then the hue. Grey clips have the first two only.
    - Hue turns the colour plane of YUV by `factor` turns. Unlike Kornia's HSV hue this is linear and keeps the luma.
    - Blur: `gaussian_blur2d` with reflected borders, after the crop.
    - Values are clamped to [0, 1] once, at the end; Kornia clamps after each colour step.

    Args:
        size: Height and width of the view; None keeps those of the clip.
        scale: Range of the crop's area, as a fraction of the frame's, in (0, 1].
        ratio: Range of the crop's width over height, as a multiple of the frame's; narrowed if the crop would not fit.
        brightness: Range of the factor around 1, or half its width; within [0, 2].
        contrast: The same, at least 0.
        saturation: The same, at least 0.
        hue: Range of the hue shift around 0, or half its width, in turns; within [-0.5, 0.5], which is any hue.
        kernel_size: Width of the blur's kernel in pixels, odd.
        sigma: Range of the blur's standard deviation in pixels.
        p: Probability that a clip is changed; otherwise it is only resized.
        stretch: The largest relative change of the local scale along an axis, in [0, 1): two waves, of one and of two
            periods over the view, each of a random amplitude up to half of it and a random phase.

    Raises:
        ValueError: If a range is empty or out of bounds.

    >>> motion = VideoMotion(scale=(0.5, 1.0))
    >>> params = motion.draw(torch.tensor([1, 2]))  # on the CPU, to inspect and to replay
    >>> sorted(params)[:3]
    ['batch_prob', 'brightness_factor', 'contrast_factor']
    >>> motion(torch.rand(2, 8, 3, 64, 64), params).shape
    torch.Size([2, 8, 3, 64, 64])
    """

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        scale: Range = (0.8, 1.0),
        ratio: Range = (0.9, 1.1),
        brightness: float | Range = 0.4,
        contrast: float | Range = 0.4,
        saturation: float | Range = 0.4,
        hue: float | Range = 0.5,
        kernel_size: int = 7,
        sigma: Range = (0.1, 1.0),
        p: float = 1.0,
        stretch: float = 0.0,
    ) -> None:
        super().__init__(p=p)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"VideoMotion: kernel_size must be odd and positive, not {kernel_size}")
        if not 0 <= stretch < 1:
            raise ValueError(f"VideoMotion: stretch is {stretch}; it must be at least 0 and below 1")
        self.flags = {
            "size": size,
            "stretch": float(stretch),
            "scale": _checked_range("scale", scale, 1e-4, 1.0),
            "ratio": _checked_range("ratio", ratio, 1e-4, math.inf),
            "brightness": _checked_range("brightness", _around(1.0, brightness), 0.0, 2.0),
            "contrast": _checked_range("contrast", _around(1.0, contrast), 0.0, math.inf),
            "saturation": _checked_range("saturation", _around(1.0, saturation), 0.0, math.inf),
            "hue": _checked_range("hue", _around(0.0, hue), -0.5, 0.5),
            "kernel_size": kernel_size,
            "sigma": _checked_range("sigma", sigma, _POINT, math.inf),
        }

    def draw(self, seeds: Tensor) -> Params:
        """One set of parameters per seed, int64 `[B]`, on the device of the seeds.

        Returns:
            float32 tensors under Kornia's names: `brightness_factor`, `contrast_factor`, `saturation_factor`,
            `hue_factor`, `sigma` and `batch_prob` (1 if the clip is changed), each `[B]`; `crop` `[B, 4]`: left, top,
            width, height as fractions of the distance between the centres of the first and the last pixel; and `waves`
            `[B, 2, 2, 2]`: of the columns and of the rows, the amplitude and the phase of both waves of the stretch.
        """
        # A draw added later takes the next column, so that earlier draws keep their values.
        u = uniform(seeds, 18, Purpose.MOTION).unbind(1)
        amplitude, phase = torch.stack(u[10:], dim=1).view(-1, 2, 2, 2).unbind(3)
        half = self.flags["stretch"] / 2
        factors = {
            f"{name}_factor": _between(u[i], *self.flags[name])
            for i, name in enumerate(("brightness", "contrast", "saturation", "hue"), start=5)
        }
        return {
            "batch_prob": (u[0] < self.p).to(torch.float32),
            "crop": _random_box(u[1:5], self.flags["scale"], self.flags["ratio"]),
            "waves": torch.stack([_between(amplitude, -half, half), 2 * math.pi * phase], dim=3),
            **factors,
            "sigma": _between(u[9], *self.flags["sigma"]),
        }

    def forward_parameters(self, batch_shape: tuple[int, ...]) -> Params:
        """Kornia's hook: the parameters that `forward(x)` draws from torch's generator."""
        return self.draw(fresh_seeds(batch_shape[0]))

    def transform_tensor(self, input: Tensor, *, shape: Tensor | None = None, match_channel: bool = True) -> Tensor:
        """Kornia's hook: check the input, which must be a batch of clips, not a single frame or clip.

        Raises:
            ValueError: If `input` is not float `[B, T, C, H, W]` with 1 or 3 channels.
        """
        if input.ndim != 5 or not input.is_floating_point() or input.shape[2] not in (1, 3):
            found = f"{input.dtype} {list(input.shape)}"
            raise ValueError(f"VideoMotion takes float clips [B, T, 1 or 3, H, W], not {found}")
        return input

    def transform_inputs(
        self, input: Tensor, params: Params, flags: dict[str, Any], transform: Tensor | None = None, **kwargs: Any
    ) -> Tensor:
        """Kornia's hook: skipped clips get neutral parameters, so no results are blended."""
        return self.apply_transform(input, params, flags)

    def apply_transform(
        self, input: Tensor, params: Params, flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        """The view `[B, T, C, H', W']`, stored channels last, of clips `[B, T, C, H, W]` under drawn parameters.

        Raises:
            ValueError: If the blur's kernel is larger than the view.
        """
        size = flags["size"] or (input.shape[3], input.shape[4])
        taps = flags["kernel_size"]
        if taps // 2 >= min(size):
            raise ValueError(f"VideoMotion: a blur of {taps} pixels does not fit a view of {size}")
        # Windows of more than half a frame, as at 32 pixels, cost more to copy than they save. GPUs were not measured.
        axes, stretch = zip(input.shape[3:], size, strict=True), flags["stretch"]
        narrow = all(2 * window_width(taps, *axis, stretch=stretch) <= axis[0] for axis in axes)
        banded = narrow and input.device.type == "cpu"
        with torch.autocast(input.device.type, enabled=False):  # a view is pixels: bfloat16 would round them to 8 bits
            rows, columns, colour, offset = self._matrices(params, flags, input, size, BLOCK if banded else None)
            rows, columns = rows.to(input), (with_colour(columns, colour) if banded else columns).to(input)
            colour, offset = colour.to(input, non_blocking=True), offset.to(input, non_blocking=True)
            batch, frames, channels = input.shape[:3]
            views = input.new_empty(batch, frames, *size, channels).permute(0, 1, 4, 2, 3)
            for part in _parts(input, size):
                clips = part[0]
                if banded:
                    view = resample(input[part], rows.of(clips), columns.of(clips), size)
                else:  # Colour first: it commutes with the resampling, and needs the frames as they are stored.
                    recoloured = _recolour(input[part], colour[clips])
                    view = _resample(recoloured, rows.weights[clips, 0], columns.weights[clips, 0])
                views[part] = view.add_(offset[clips].view(-1, 1, 1, 1, 1)).clamp_(0, 1)
            return views

    @staticmethod
    def _matrices(
        params: Params, flags: dict[str, Any], x: Tensor, size: tuple[int, int], block: int | None
    ) -> tuple[Band, Band, Tensor, Tensor]:
        """Of rows and of columns, on the device of the clips; of colours, on that of the parameters.

        Drawn on the host, only the crop and the kernel of each clip are moved to a GPU: making and moving the matrices
        of 224 x 224 pixels took longer than applying them.
        """
        params = _gated(params)
        kernel = get_gaussian_kernel1d(flags["kernel_size"], params["sigma"][:, None])
        kernel, box = kernel.to(x.device, non_blocking=True), params["crop"].to(x.device, non_blocking=True)
        left, top, width, height = box.unbind(1)
        across, down = params["waves"].to(x.device, non_blocking=True).unbind(1)
        stretch = flags["stretch"]
        rows = crop_and_blur(kernel, top, height, x.shape[3], size[0], block, down, stretch)
        columns = crop_and_blur(kernel, left, width, x.shape[4], size[1], block, across, stretch)
        return rows, columns, *_colour(params, x.shape[2])


def _parts(x: Tensor, size: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    """Slices of clips and of frames: everything, or, on a CPU, so few that intermediate products stay in its cache."""
    batch, frames, _, height, width = x.shape
    clips_at_once, frames_at_once = batch, frames
    if x.device.type == "cpu":
        pixels = max(height * width, math.prod(size))
        frames_at_once = min(frames, max(1, PIXELS_IN_CACHE // pixels))
        clips_at_once = max(1, PIXELS_IN_CACHE // (pixels * frames_at_once))
    for i in range(0, batch, clips_at_once):
        for j in range(0, frames, frames_at_once):
            yield slice(i, i + clips_at_once), slice(j, j + frames_at_once)


def _resample(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """`rows @ frame @ columns.T` of every frame and channel: `[B, T, C, H, W]` to `[B, T, C, H', W']`."""
    batch, frames, channels, height, width = x.shape
    x = x.permute(0, 1, 3, 4, 2).reshape(batch, frames, height, width * channels)
    # Each product returns its result transposed, as the next one needs it: no copies in between.
    x = x.mT @ rows[:, None].mT
    x = x.view(batch, frames, width, -1).mT @ columns[:, None].mT
    return x.view(batch, frames, channels, rows.shape[1], -1)


def _recolour(x: Tensor, matrix: Tensor) -> Tensor:
    """`matrix @ pixel` at every pixel of `[B, T, C, H, W]`, stored channels last; `matrix` is `[B, C, C]`."""
    batch, frames, channels, height, width = x.shape
    # A product with 3 columns is slow; four pixels at a time, with a block-diagonal matrix, take a third of the time.
    group = math.gcd(4, frames * height * width)
    blocks = torch.einsum("gh,bij->bgjhi", torch.eye(group, dtype=x.dtype, device=x.device), matrix)
    pixels = x.permute(0, 1, 3, 4, 2).reshape(batch, -1, group * channels)
    pixels = pixels @ blocks.reshape(batch, group * channels, group * channels)
    return pixels.view(batch, frames, height, width, channels).permute(0, 1, 4, 2, 3)


def _colour(params: Params, channels: int) -> tuple[Tensor, Tensor]:
    """The affine map of a pixel: a matrix `[B, C, C]`, and an offset `[B]` added to each channel."""
    contrast = params["contrast_factor"]
    offset = contrast * (params["brightness_factor"] - 1)  # grey, which saturation and hue do not change
    if channels == 1:
        return contrast[:, None, None], offset
    angle = 2 * math.pi * params["hue_factor"]
    cos, sin = params["saturation_factor"] * angle.cos(), params["saturation_factor"] * angle.sin()
    ones, zero = torch.ones_like(cos), torch.zeros_like(cos)
    turn = torch.stack([ones, zero, zero, zero, cos, -sin, zero, sin, cos], dim=1).view(-1, 3, 3)
    return contrast[:, None, None] * (_FROM_YUV.to(turn) @ turn @ _TO_YUV.to(turn)), offset


def _random_box(u: Sequence[Tensor], scale_range: Range, ratio_range: Range) -> Tensor:
    """Boxes `[B, 4]` (left, top, width, height) in the unit square from four uniform draws `[B]` each."""
    area = _between(u[0], *scale_range)
    # Only the shapes that fit: 1 / area is the widest box of this area, area the tallest.
    lowest = area.clamp_min(ratio_range[0]).minimum(1 / area).log()
    highest = (1 / area).clamp_max(ratio_range[1]).maximum(area).log()
    ratio = (lowest + u[1] * (highest - lowest)).exp()
    width, height = (area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1)
    return torch.stack([u[2] * (1 - width), u[3] * (1 - height), width, height], dim=1)


def _gated(params: Params) -> Params:
    """The parameters, replaced by neutral ones for the clips whose `batch_prob` is 0."""
    keep = params["batch_prob"] > 0.5
    return {
        name: torch.where(keep.view(-1, *[1] * (params[name].ndim - 1)), params[name], params[name].new_tensor(neutral))
        for name, neutral in _NEUTRAL.items()
    }


def _between(u: Tensor, low: float, high: float) -> Tensor:
    return low + u * (high - low)


def _around(centre: float, value: float | Range) -> Range:
    """A range unchanged, or one of half-width `value` as in Kornia; factors are at least 0."""
    if isinstance(value, tuple | list):
        return value
    return (max(0.0, centre - value) if centre else -value), centre + value


def _checked_range(name: str, value: Range, low: float, high: float) -> Range:
    if len(value) != 2 or not low <= value[0] <= value[1] <= high:
        raise ValueError(f"VideoMotion: {name} {value} is not a range (low, high) within [{low:g}, {high:g}]")
    return float(value[0]), float(value[1])
