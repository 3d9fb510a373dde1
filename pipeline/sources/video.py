"""Frames of video files and of folders of pictures, one after the other, and how they are fitted to a square."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import VideoFrame

PICTURES = {".png", ".jpg", ".jpeg", ".webp"}


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder, `f2.png` before `f10.png`; other files are not looked at.

    Raises:
        ValueError: If there are none.
    """
    found = [file for file in folder.iterdir() if file.suffix.lower() in PICTURES and not file.name.startswith(".")]
    if not found:
        raise ValueError(f"{folder} holds no pictures: frames are .png, .jpg or .webp files")
    return sorted(found, key=lambda file: _natural(file.name))


def _natural(name: str) -> list[tuple[int, str]]:
    """A name's runs of digits as numbers, between what is not digits."""
    return [(int(part) if place % 2 else 0, part) for place, part in enumerate(re.split(r"(\d+)", name))]


def read_picture(path: Path) -> NDArray[np.uint8]:
    """The pixels of a PNG, JPEG or WebP picture, uint8 `[H, W, 3]`; what is transparent lies over black.

    Raises:
        ValueError: If it is damaged, cut short, or not of 8 bits grey or RGB.
    """
    data = path.read_bytes()
    decode = {".png": imagecodecs.png_decode, ".webp": imagecodecs.webp_decode}.get(
        path.suffix.lower(), imagecodecs.jpeg_decode
    )
    try:
        pixels = decode(data)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{path} cannot be decoded: {error}") from None
    jpeg = decode is imagecodecs.jpeg_decode
    if jpeg and b"\xff\xd9" not in data[-1024:]:  # libjpeg fills what is missing with grey and says nothing
        raise ValueError(f"{path} is cut short")
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    channels = pixels.shape[2]
    if pixels.dtype != np.uint8 or channels > (3 if jpeg else 4):
        raise ValueError(f"{path} is {pixels.dtype} with {channels} channels: convert it to 8 bits grey or RGB")
    if channels in (2, 4):
        alpha = pixels[..., -1:].astype(np.uint16)
        pixels = ((pixels[..., :-1] * alpha + 127) // 255).astype(np.uint8)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def decode_video(path: Path) -> Iterator[VideoFrame]:
    """The frames of a video file in the order in which they are shown, as PyAV decodes them.

    Raises:
        ValueError: If it has no video, or is damaged or cut short as far as its format lets one know.
        ImportError: If PyAV is not there.
    """
    av = _import_av()
    frame: VideoFrame | None = None
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path} has no video stream")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # the files are dealt to processes or threads already
            longest = 1 / float(stream.average_rate) if stream.average_rate else 0.0
            size = path.stat().st_size
            if any(entry.pos + entry.size > size for entry in stream.index_entries):
                raise ValueError(f"video {path} is cut short: its index names frames beyond its end")
            for packet in container.demux(stream):
                for following in packet.decode():
                    if packet.is_corrupt or following.is_corrupt:
                        raise ValueError(f"video {path} is damaged or cut short: make it again or leave it out")
                    if frame is not None and frame.time is not None and following.time is not None:
                        longest = max(longest, following.time - frame.time)
                    if abs(following.rotation - 90 * _quarter_turns(following)) > 1:
                        raise ValueError(f"video {path} is rotated by {following.rotation} degrees, no right angle")
                    frame = following
                    yield frame
            end = _seconds(stream.metadata.get("DURATION", ""))
    except av.FFmpegError as error:
        raise ValueError(f"video {path} cannot be decoded, it is damaged or cut short: {error.strerror}") from None
    if frame is None:
        raise ValueError(f"video {path} has no frames")
    if frame.time is not None and frame.time + 1.5 * longest < end:
        raise ValueError(
            f"video {path} is cut short: it says {end:.2f} s, its last frame is at {frame.time:.2f} s; "
            "if that is all of it, ffmpeg -c copy writes it anew"
        )


def _seconds(text: str) -> float:
    """A Matroska duration such as 00:01:02.5, in seconds; 0 if it is none."""
    match = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", text)
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) if match else 0.0


def video_rate(path: Path) -> float | None:
    """Frames per second of a video file, the average where the rate varies; None if it does not say."""
    av = _import_av()
    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate
    return float(rate) if rate else None


def _import_av() -> Any:
    try:
        import av
    except ImportError:
        raise ImportError("video files need PyAV: pip install 'seqviews[video]'") from None
    return av


def upright(frame: VideoFrame) -> NDArray[np.uint8]:
    """The pixels of a decoded frame, uint8 `[H, W, 3]`, turned by right angles as the video's rotation says."""
    return np.rot90(frame.to_ndarray(format="rgb24"), _quarter_turns(frame))


def _quarter_turns(frame: VideoFrame) -> int:
    """Anticlockwise; PyAV cuts the angle off to whole degrees."""
    return round(frame.rotation / 90)


def fit(pixels: NDArray[np.uint8], size: int, grey: bool) -> NDArray[np.uint8]:
    """A picture resized so that its shorter side is `size`, and its middle square: uint8 `[size, size, 1 or 3]`.

    The filter is a triangle that is as wide as the step it shrinks by, as Pillow's BILINEAR. Grey is ITU-R 601 luma.

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
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    if shorter != size:
        target = (round(height * size / shorter), round(width * size / shorter))
        image = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None]
        resized = interpolate(image, target, mode="bilinear", antialias=True)
        pixels = resized[0].permute(1, 2, 0).numpy()
        height, width = target
    top, left = (height - size) // 2, (width - size) // 2
    return np.ascontiguousarray(pixels[top : top + size, left : left + size])
