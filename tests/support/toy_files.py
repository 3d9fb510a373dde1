"""Small videos, images and sounds on disk, and their expected contents."""

import csv
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image


def moving_square(frames: int, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """uint8 `[frames, height, width, 3]`: a coloured square that moves to the right over a coloured background."""
    rng = np.random.default_rng(seed)
    pixels = np.empty((frames, height, width, 3), np.uint8)
    pixels[:] = rng.integers(0, 256, 3)
    colour = rng.integers(0, 256, 3)
    for t in range(frames):
        left = t % (width // 2)
        pixels[t, height // 4 : height // 2, left : left + width // 4] = colour
    return pixels


def write_video(
    path: Path,
    pixels: NDArray[np.uint8],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times: Sequence[int] | None = None,
    container_options: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode `[T, H, W, 3 or 4]` at 25 frames per second, or with `times` in 1/100 s."""
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = pixels.shape[2], pixels.shape[1], pix_fmt
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 100)
        for t, image in enumerate(pixels):
            frame = av.VideoFrame.from_ndarray(image, format="rgba" if image.shape[2] == 4 else "rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[t], Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_streams(path: Path, *streams: tuple[str, NDArray[np.uint8], int]) -> Path:
    """Encode several videos `[T, H, W, 3]` into one file, each with its codec and its disposition."""
    with av.open(str(path), "w") as container:
        added: list[Any] = []
        for codec, pixels, disposition in streams:
            stream: Any = container.add_stream(codec, rate=25)
            stream.width, stream.height = pixels.shape[2], pixels.shape[1]
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.disposition = disposition
            added.append(stream)
        for stream, (_, pixels, _) in zip(added, streams, strict=True):
            for image in pixels:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
    return path


def decoded(path: Path) -> list[Image.Image]:
    """The frames of a video, decoded by PyAV."""
    with av.open(str(path)) as container:
        return [Image.fromarray(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def naive_fit(image: Image.Image, size: int, grey: bool = False) -> NDArray[np.uint8]:
    """Resize the shorter side to `size` and take the middle square, by Pillow."""
    image = image.convert("L") if grey else image
    shorter = min(image.size)
    width, height = (round(side * size / shorter) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized.crop((left, top, left + size, top + size))).reshape(size, size, -1)


def write_images(folder: Path, pixels: NDArray[np.uint8], suffix: str = "png") -> Path:
    """Save `[T, H, W, 3]` as `0.png`, `1.png`, ... `10.png`."""
    folder.mkdir(parents=True)
    for t, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{t}.{suffix}")
    return folder


def write_sound(path: Path, seconds: float, seed: int = 0, rate: int = 16_000, gain: float = 0.1) -> Path:
    """Save noise of 16 bits."""
    wave = np.random.default_rng(seed).normal(0, gain, round(seconds * rate))
    soundfile.write(path, wave, rate, subtype="PCM_16")
    return path


def write_csv(path: Path, *rows: Sequence[str]) -> Path:
    """Save a header and lines."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path
