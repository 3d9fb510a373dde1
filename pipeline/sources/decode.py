"""Frames of video files, upright and over black."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.sources.containers import gif_is_complete, is_video, matroska_is_complete

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

Matrix: TypeAlias = tuple[tuple[int, int], tuple[int, int]]
IDENTITY: Matrix = ((1, 0), (0, 1))


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
        pixels = over_black(pixels, frame.to_ndarray(format="rgba")[..., 3:])
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
    if abs(exact - ((a, b), (c, d))).max() > 0.002 or abs(a * d - b * c) != 1:  # 0.002: 0.1 degrees
        return None
    return (a, b), (c, d)


def over_black(pixels: NDArray[Any], alpha: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels `[H, W, C]` composited over black, given their opacity `[H, W, 1]`, both of 8 bits: uint8 `[H, W, C]`."""
    return ((pixels * alpha.astype(np.uint16) + 127) // 255).astype(np.uint8)
