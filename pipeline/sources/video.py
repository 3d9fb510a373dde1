"""Frames of video files and of folders of images, and how they are cut into clips."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.features import Features
from seqviews.pipeline.records import Clip
from seqviews.pipeline.sources import exif
from seqviews.pipeline.sources.containers import image_pixels, jpeg_is_complete
from seqviews.pipeline.sources.decode import decode_video, over_black, upright, video_info
from seqviews.pipeline.sources.survey import FileSurvey, hash_files, until
from seqviews.pipeline.sources.windows import Window

IMAGES = {".png", ".jpg", ".jpeg", ".webp"}
MAX_PIXELS = 1 << 27


def list_images(folder: Path) -> list[Path]:
    """The images of a folder, `f2.png` before `f10.png`, and no other files. Raises `ValueError` if there are none."""
    found = [file for file in folder.iterdir() if file.suffix.lower() in IMAGES and not file.name.startswith(".")]
    if not found:
        raise ValueError(f"{folder} has no images: frames are .png, .jpg or .webp files")
    return sorted(found, key=lambda file: _natural(file.name))


def _natural(name: str) -> list[tuple[int, str]]:
    """The parts of a name, with runs of digits as numbers."""
    return [(int(part) if i % 2 else 0, part) for i, part in enumerate(re.split(r"(\d+)", name))]


def read_image(path: Path) -> NDArray[np.uint8]:
    """The pixels of a PNG, JPEG or WebP image, uint8 `[H, W, 3]`; transparency is composited over black.

    A JPEG is rotated and mirrored as its Exif states.

    Raises `ValueError` if the image is damaged, truncated or too large, or not 8 bits grey or RGB.
    """
    if not path.is_file() and path.exists():  # a pipe might never end
        raise ValueError(f"{path} is not a file")
    data, suffix = path.read_bytes(), path.suffix.lower()
    jpeg = suffix not in {".png", ".webp"}
    decode = imagecodecs.jpeg_decode if jpeg else getattr(imagecodecs, f"{suffix[1:]}_decode")
    if image_pixels(data) > MAX_PIXELS:
        raise ValueError(f"{path} states a size of over {MAX_PIXELS >> 20} million pixels")
    try:
        pixels = decode(data)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{path} cannot be decoded: {error}") from None
    if jpeg and not jpeg_is_complete(data):  # libjpeg fills missing data with grey and reports nothing
        raise ValueError(f"{path} is truncated")
    if data[8:16] == b"WEBPVP8X" and data[20] & 2:
        raise ValueError(f"{path} is an animated WebP, which is not supported: save its frames as images")
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    channels = pixels.shape[2]
    if pixels.dtype != np.uint8 or channels > (3 if jpeg else 4):
        raise ValueError(f"{path} is {pixels.dtype} with {channels} channels: convert it to 8 bits grey or RGB")
    if channels in (2, 4):
        pixels = over_black(pixels[..., :-1], pixels[..., -1:])
    if jpeg:
        pixels = exif.upright(pixels, exif.orientation(data))
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def fit(pixels: NDArray[np.uint8], size: int, grey: bool) -> NDArray[np.uint8]:
    """Resize an image so that its shorter side is `size` and take the middle square: uint8 `[size, size, 1 or 3]`.

    The filter is an antialiased triangle, as Pillow's BILINEAR. Grey is ITU-R 601 luma.

    Example:
        >>> fit(np.full((48, 64, 3), 200, np.uint8), size=16, grey=True).shape
        (16, 16, 1)
    """
    import torch
    from torch.nn.functional import interpolate

    if grey:
        red, green, blue = np.moveaxis(pixels.astype(np.uint32), -1, 0)
        luma = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16
        pixels = luma.astype(np.uint8)[..., np.newaxis]
    shorter = min(pixels.shape[:2])
    if shorter != size:
        target = [round(side * size / shorter) for side in pixels.shape[:2]]
        image = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None]
        pixels = interpolate(image, target, mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
    top, left = ((side - size) // 2 for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + size, left : left + size])


@dataclass(frozen=True, slots=True)
class ClipCutter:
    """Cuts video files, or with `images` folders of images, into clips of `size` x `size` pixels, grey or RGB.

    Only every `step`-th frame of a file is used. Raises `ValueError` if an attribute is out of bounds.
    """

    images: bool
    window: Window
    step: int = 1
    size: int = 64
    grey: bool = False

    def __post_init__(self) -> None:
        if self.step < 1 or not 1 <= self.size <= 4096:
            raise ValueError(f"every {self.step}th frame in {self.size} pixels: at least 1, and 1 to 4096")

    @property
    def parameters(self) -> dict[str, Any]:
        """See `Cutter.parameters`."""
        return {**self.window.parameters, "frame_step": self.step}

    def survey(self, file: Path, stop: Event) -> FileSurvey:
        """See `Cutter.survey`."""
        if self.images:
            images = list_images(file)[:: self.step]
            shapes = {read_image(image).shape: image for image in until(stop, images)}
            if len(shapes) > 1:
                ((height, width, _), first), ((height_2, width_2, _), second) = list(shapes.items())[:2]
                found = f"{first} is {width} x {height} and {second.name} is {width_2} x {height_2}"
                raise ValueError(f"{found}: the frames of a folder must have the same size")
            return FileSurvey(len(images), None, hash_files(images))
        frames = sum(1 for _ in until(stop, decode_video(file)))
        rate, remark = video_info(file)
        return FileSurvey(-(-frames // self.step), rate and rate / self.step, hash_files([file]), remark=remark)

    def features(self, surveys: Sequence[FileSurvey], train: Sequence[FileSurvey]) -> Features:
        """Shape, and the rate if it is the same for all files."""
        rates = {survey.rate for survey in surveys}
        least, greatest = self.window.frame_counts([survey.frames for survey in surveys])
        shape, rate = (greatest, self.size, self.size, 1 if self.grey else 3), rates.pop() if len(rates) == 1 else None
        return Features(shape, rate=rate, min_frames=least if least < greatest else None)

    def records(self, file: Path, key: str, rng: np.random.Generator, **facts: Any) -> Iterator[Clip]:
        """The clips of a file, in order; nothing in them is random."""
        if self.images:
            pixels = map(read_image, list_images(file)[:: self.step])
        else:
            pixels = map(upright, islice(decode_video(file), 0, None, self.step))
        fitted = (fit(frame, self.size, self.grey) for frame in pixels)
        for number, frames in enumerate(self.window.cut(fitted)):
            yield Clip(key.format(number), np.stack(frames), **facts)
