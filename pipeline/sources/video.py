"""Frames of video files and of folders of images, and how they are cut into clips."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, TypeAlias

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.manifest import Codec, Features
from seqviews.pipeline.records import Clip
from seqviews.pipeline.shards.codec import WEBP_MAX_ROWS
from seqviews.pipeline.sources.containers import gif_is_complete, is_video, jpeg_is_complete, matroska_is_complete
from seqviews.pipeline.sources.survey import FileSurvey, hash_files, until
from seqviews.pipeline.sources.windows import Window

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

Matrix: TypeAlias = tuple[tuple[int, int], tuple[int, int]]
IDENTITY: Matrix = ((1, 0), (0, 1))
IMAGES = {".png", ".jpg", ".jpeg", ".webp"}


def list_images(folder: Path) -> list[Path]:
    """The images of a folder, `f2.png` before `f10.png`; other files are ignored.

    Raises:
        ValueError: If there are none.
    """
    found = [file for file in folder.iterdir() if file.suffix.lower() in IMAGES and not file.name.startswith(".")]
    if not found:
        raise ValueError(f"{folder} has no images: frames are .png, .jpg or .webp files")
    return sorted(found, key=lambda file: _natural(file.name))


def _natural(name: str) -> list[tuple[int, str]]:
    """The parts of a name, with runs of digits as numbers."""
    return [(int(part) if i % 2 else 0, part) for i, part in enumerate(re.split(r"(\d+)", name))]


def read_image(path: Path) -> NDArray[np.uint8]:
    """The pixels of a PNG, JPEG or WebP image, uint8 `[H, W, 3]`; transparency is composited over black.

    Raises:
        ValueError: If the image is damaged or truncated, or not 8 bits grey or RGB.
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
        pixels = _over_black(pixels[..., :-1], pixels[..., -1:])
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _over_black(pixels: NDArray[Any], alpha: NDArray[Any]) -> NDArray[np.uint8]:
    return ((pixels * alpha.astype(np.uint16) + 127) // 255).astype(np.uint8)


def decode_video(path: Path) -> Iterator[VideoFrame]:
    """The frames of a video file in display order, as PyAV decodes them, of the stream that a player chooses.

    Raises:
        ValueError: If the file has no video, is of an unsupported kind, or is damaged or truncated as far as its format
            and its codec show it.
        OSError: If the file cannot be read.
        ImportError: If PyAV is not installed.
    """
    av = _import_av()
    frame: VideoFrame | None = None
    try:
        with _open(path) as container:
            stream, _ = _choose_stream(path, container)
            codec, transparent = stream.codec_context, stream.metadata.get("alpha_mode") == "1"
            codec.thread_count = 1  # files are read in parallel already
            if codec.name != "h264":  # there it also rejects sound streams that were cut at an open group of pictures
                codec.options = {"err_detect": "crccheck+explode"}
            # libvpx, built for 8 bits, detects damage in VP9 and decodes transparency; FFmpeg's own decoders do not
            vpx = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(codec.name)
            detects = codec.name == "vp9" and codec.format is not None and codec.format.components[0].bits == 8
            reference = av.CodecContext.create(vpx, "r") if vpx and (transparent or detects) else None
            size = path.stat().st_size
            if any(entry.pos + entry.size > size for entry in stream.index_entries):
                raise ValueError(f"video {path} is truncated: its index lists frames beyond its end")
            complete = {"matroska,webm": matroska_is_complete, "gif": gif_is_complete}.get(container.format.name)
            if complete and not complete(path):
                raise ValueError(f"video {path} is damaged or truncated: its parts do not have their stated sizes")
            for packet in container.demux(stream):
                frames = packet.decode()
                matrices = {_symmetry(frame) for frame in frames}
                if None in matrices or (transparent and matrices - {IDENTITY}):
                    raise ValueError(f"video {path} has a display matrix that is no rotation by right angles or mirror")
                if reference:
                    checked = reference.decode(packet)
                    frames = checked if transparent else frames
                for frame in frames:
                    if packet.is_corrupt or frame.is_corrupt:
                        raise ValueError(f"video {path} is damaged or truncated: encode it again or leave it out")
                    yield frame
    except av.FFmpegError as error:
        if frame is None and not is_video(path):
            raise ValueError(f"{path} is not supported: PyAV recognises no video in files of its kind") from None
        raise ValueError(f"video {path} cannot be decoded, it is damaged or truncated: {error.strerror}") from None
    if frame is None:
        raise ValueError(f"video {path} has no frames")


def video_info(path: Path) -> tuple[float | None, str]:
    """Frames per second of a video file, the average if it varies, None if unknown; and a remark on its streams."""
    with _open(path) as container:
        stream, count = _choose_stream(path, container)
        remark = f"has {count} video streams, of which stream {stream.index} is used" if count > 1 else ""
        return float(stream.average_rate) if stream.average_rate else None, remark


def _open(path: Path) -> InputContainer:
    """Open a file; FFmpeg does not recognise an MPEG transport stream of a few frames by its content."""
    transport = path.suffix.lower() in {".ts", ".mts", ".m2ts"}
    options = {"format": "mpegts" if transport else None, "metadata_errors": "replace"}
    container: InputContainer = _import_av().open(str(path), **options)
    return container


def _choose_stream(path: Path, container: InputContainer) -> tuple[VideoStream, int]:
    """FFmpeg's choice among the streams of a file that are no cover images or thumbnails, and the number of these."""
    images = _import_av().stream.Disposition
    videos = [s for s in container.streams.video if not s.disposition & (images.attached_pic | images.timed_thumbnails)]
    if not videos:
        raise ValueError(f"{path} has no video stream")
    known = [stream for stream in videos if stream.codec_context]
    if not known:
        raise ValueError(f"{path} is not supported: PyAV has no decoder for its codec")
    known = [stream for stream in known if stream.frames != 1] or known  # a cover image that is not marked as one
    best = container.streams.best("video")
    if best not in known:
        best = max(known, key=lambda s: (s.disposition & images.default, s.frames, s.width * s.height))
    return best, len(videos)


def _import_av() -> Any:
    try:
        import av
    except ImportError:
        raise ImportError("video files need PyAV: pip install 'seqviews[video]'") from None
    return av


def upright(frame: VideoFrame) -> NDArray[np.uint8]:
    """The pixels of a decoded frame over black, uint8 `[H, W, 3]`, rotated and mirrored as the file states."""
    pixels: NDArray[Any] = frame.to_ndarray(format="rgb24")
    if frame.format.has_palette or any(component.is_alpha for component in frame.format.components):
        pixels = _over_black(pixels, frame.to_ndarray(format="rgba")[..., 3:])
    (a, b), (c, d) = _symmetry(frame) or IDENTITY
    return (pixels.swapaxes(0, 1) if b else pixels)[:: b + d, :: a + c]


def _symmetry(frame: VideoFrame) -> Matrix | None:
    """The display matrix of a frame, reduced to signs: (x, y) is shown at (ax + cy, bx + dy), y pointing down.

    Translation and scale do not matter. None if it is not one of the eight symmetries of a square.
    """
    side_data: Any = frame.side_data
    try:
        matrix = np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), np.int32).reshape(3, 3)
    except KeyError:
        return IDENTITY
    scale = np.hypot(*matrix[:2, :2].astype(float))
    if not scale.all() or matrix[:2, 2].any() or matrix[2, 2] < 0:
        return None
    exact = matrix[:2, :2] / scale
    (a, b), (c, d) = np.rint(exact).astype(int).tolist()
    if abs(exact - ((a, b), (c, d))).max() > 0.03 or abs(a * d - b * c) != 1:  # 0.03: 1.7 degrees
        return None
    return (a, b), (c, d)


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


@dataclass(frozen=True, slots=True)
class ClipCutter:
    """Cuts video files, or folders of images, into clips of `size` x `size` pixels.

    Attributes:
        images: True for folders of images.
        window: The frames of each clip.
        step: Only every `step`-th frame of the file is used.
        size: Height and width.
        grey: One channel instead of three.
        codec: How frames are stored.

    Raises:
        ValueError: If one of these is out of bounds.
    """

    images: bool
    window: Window
    step: int = 1
    size: int = 64
    grey: bool = False
    codec: Codec = "webp"

    def __post_init__(self) -> None:
        if self.step < 1 or not 1 <= self.size <= 4096:
            raise ValueError(f"every {self.step}th frame in {self.size} pixels: at least 1, and 1 to 4096")
        frames = self.window.frames
        if self.codec == "webp" and frames * self.size > WEBP_MAX_ROWS:
            raise ValueError(
                f"{frames} frames of {self.size} rows are more than WebP's {WEBP_MAX_ROWS}: use --codec npy"
            )

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything but the files that decides the clips."""
        return {"stride": self.window.stride, "frame_step": self.step}

    def survey(self, file: Path, stop: Event) -> FileSurvey:
        """Decode every frame once."""
        if self.images:
            images = list_images(file)[:: self.step]
            shapes = {read_image(image).shape: image for image in until(stop, images)}
            if len(shapes) > 1:
                ((height, width, _), first), ((height_2, width_2, _), second) = list(shapes.items())[:2]
                raise ValueError(
                    f"{first} is {width} x {height} and {second.name} is {width_2} x {height_2}: "
                    "the frames of a folder must have the same size"
                )
            return FileSurvey(len(images), None, hash_files(images))
        frames = sum(1 for _ in until(stop, decode_video(file)))
        rate, remark = video_info(file)
        return FileSurvey(-(-frames // self.step), rate and rate / self.step, hash_files([file]), remark=remark)

    def features(self, surveys: Sequence[FileSurvey], train: Sequence[FileSurvey]) -> Features:
        """Shape, codec, and the rate if it is the same for all files."""
        rates = {survey.rate for survey in surveys}
        shape = (self.window.frames, self.size, self.size, 1 if self.grey else 3)
        return Features(shape, rate=rates.pop() if len(rates) == 1 else None, codec=self.codec)

    def records(self, file: Path, key: str, rng: np.random.Generator, **facts: Any) -> Iterator[Clip]:
        """The clips of a file, in order; nothing in them is random."""
        if self.images:
            pixels = map(read_image, list_images(file)[:: self.step])
        else:
            pixels = map(upright, islice(decode_video(file), 0, None, self.step))
        fitted = (fit(frame, self.size, self.grey) for frame in pixels)
        for number, frames in enumerate(self.window.cut(fitted)):
            yield Clip(key.format(number), np.stack(frames), **facts)
