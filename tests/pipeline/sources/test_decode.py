import math
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from toy_files import decoded, moving_square, write_streams, write_video

from seqviews.pipeline.sources.decode import decode_video, upright, video_info
from seqviews.pipeline.sources.survey import survey_files
from seqviews.pipeline.sources.video import ClipCutter, read_image
from seqviews.pipeline.sources.windows import Window

FORMATS: dict[str, dict[str, Any]] = {
    "x.mp4": {},
    "fast.mp4": {"container_options": {"movflags": "faststart"}},
    "fragments.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "x.mkv": {},
    "live.mkv": {"container_options": {"live": "1"}},
    "x.webm": {"codec": "libvpx-vp9"},
    "x.avi": {"codec": "mpeg4"},
}


def assert_equal(found: Sequence[np.ndarray], expected: Sequence[Image.Image]) -> None:
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, np.asarray(theirs))


def pixels_of(path: Path) -> list[np.ndarray]:
    return [upright(frame) for frame in decode_video(path)]


MORE_FORMATS = {"odd.mp4": {"pix_fmt": "yuv444p"}, "odd.mkv": {"codec": "ffv1"}, "x.ts": {"codec": "mpeg2video"}}


@pytest.mark.parametrize(("name", "options"), [*FORMATS.items(), *MORE_FORMATS.items()])
def test_frames_are_those_that_pyav_decodes(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    height, width = (37, 53) if name.startswith("odd") else (48, 64)
    for frames in (13, 3, 1):
        path = write_video(tmp_path / name, moving_square(frames, height, width), **options)
        assert len(pixels_of(path)) == frames
        if frames == 13 or not name.endswith("ts"):  # FFmpeg does not recognise shorter transport streams
            assert_equal(pixels_of(path), decoded(path))
        assert frames < 13 or video_info(path) == (25, "")


def with_matrix(flat: Path, *matrix: float, u: int = 0, w: int = 1 << 30) -> Path:
    """A copy of an MP4 with another display matrix: (x, y) is shown at (ax + cy, bx + dy), y pointing down."""
    a, b, c, d = (round(v * (1 << 16)) for v in matrix)
    data = flat.read_bytes()
    start = data.index(b"tkhd") + 4 + 40
    assert data[start : start + 4] == (1 << 16).to_bytes(4, "big")
    turned = flat.with_name("turned.mp4")
    turned.write_bytes(data[:start] + struct.pack(">9i", a, b, u, c, d, 0, 7 << 16, 0, w) + data[start + 36 :])
    return turned


SYMMETRIES: dict[tuple[int, int, int, int], list[Image.Transpose]] = {
    (1, 0, 0, 1): [],
    (-1, 0, 0, 1): [Image.Transpose.FLIP_LEFT_RIGHT],
    (1, 0, 0, -1): [Image.Transpose.FLIP_TOP_BOTTOM],
    (-1, 0, 0, -1): [Image.Transpose.ROTATE_180],
    (0, 1, -1, 0): [Image.Transpose.ROTATE_270],  # a telephone that was held upright
    (0, -1, 1, 0): [Image.Transpose.ROTATE_90],
    (0, 1, 1, 0): [Image.Transpose.TRANSPOSE],
    (0, -1, -1, 0): [Image.Transpose.TRANSVERSE],
}


@pytest.mark.parametrize("scale", [1, 0.5, 2, 1.001])
def test_the_eight_symmetries_of_a_display_matrix(tmp_path: Path, scale: float) -> None:
    flat = write_video(tmp_path / "flat.mp4", moving_square(2, 48, 64))
    for matrix, transposes in SYMMETRIES.items():
        expected = decoded(flat)
        for transpose in transposes:
            expected = [image.transpose(transpose) for image in expected]
        assert_equal(pixels_of(with_matrix(flat, *(scale * v for v in matrix))), expected)


def test_other_display_matrices_are_rejected(tmp_path: Path) -> None:
    flat = write_video(tmp_path / "flat.mp4", moving_square(2, 48, 64))
    others: list[tuple[float, float, float, float]] = [(0, 0, 0, 0), (1, 0, 0, 0), (1, 1, 0, 1), (1, 0, 1, 0)]
    for angle in (0.2, 1, *range(3, 88, 4), *range(93, 178, 7)):
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        others += [(cos, sin, -sin, cos), (cos, sin, sin, -cos)]
    for matrix in others:
        turned = with_matrix(flat, *matrix)
        with pytest.raises(
            ValueError, match=r"turned\.mp4 has a display matrix that is no rotation by right angles or"
        ):
            list(decode_video(turned))
    for options in ({"u": 1 << 20}, {"w": -1 << 30}):
        with pytest.raises(ValueError, match="display matrix"):
            list(decode_video(with_matrix(flat, 1, 0, 0, 1, **options)))


@pytest.mark.parametrize("name", ["x.mp4", "x.mkv"])
def test_frames_of_a_variable_rate_are_all_used(tmp_path: Path, name: str) -> None:
    pixels = moving_square(6, 48, 64)
    times = [0, 4, 8, 50, 54, 100]
    path = write_video(tmp_path / name, pixels, times=times)
    assert [round(100 * (frame.time or 0)) for frame in decode_video(path)] == times
    for mine, theirs in zip(pixels_of(path), pixels, strict=True):
        assert np.abs(mine.astype(int) - theirs).mean() < 10


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.6, 0.9])
def test_a_truncated_video_is_rejected(tmp_path: Path, name: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
    data = write_video(tmp_path / name, noise, **FORMATS[name]).read_bytes()
    (tmp_path / name).write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ValueError, match=rf"{name} .*(damaged|truncated)"):
        list(decode_video(tmp_path / name))


def test_a_cut_between_two_frames_is_detected_if_the_index_is_in_front(tmp_path: Path) -> None:
    path = write_video(tmp_path / "x.mp4", moving_square(40, 48, 64), container_options={"movflags": "faststart"})
    with av.open(str(path)) as container:
        last = max(packet.pos or 0 for packet in container.demux(video=0))
    path.write_bytes(path.read_bytes()[:last])
    with pytest.raises(ValueError, match="truncated: its index lists frames beyond its end"):
        list(decode_video(path))


def damaged_in_the_middle(path: Path, seed: int) -> None:
    """Overwrite a quarter of a packet in the second half of a file, from its middle on."""
    with av.open(str(path)) as container:
        packets = [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]
    start, size = packets[len(packets) // 2 + seed % (len(packets) // 3)]
    data = bytearray(path.read_bytes())
    data[start + size // 2 : start + 3 * size // 4] = np.random.default_rng(seed).bytes(3 * size // 4 - size // 2)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("x.webm", "libvpx-vp9", {}),
        ("x.mp4", "libvpx-vp9", {}),
        ("x.avi", "mjpeg", {}),
        ("x.mkv", "libx265", {"x265-params": "log-level=none:hash=1"}),
        ("x.mov", "png", {}),
    ],
)
def test_damage_in_the_middle_is_found_where_the_decoder_can_know(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3), dtype=np.uint8)
    pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(codec, "yuv420p")
    path = write_video(tmp_path / name, noise, codec=codec, pix_fmt=pix_fmt, options=options)
    whole = path.read_bytes()
    assert len(pixels_of(path)) == 12
    for seed in range(4):
        path.write_bytes(whole)
        damaged_in_the_middle(path, seed)
        with pytest.raises(ValueError, match=rf"{name} .*damaged"):
            list(decode_video(path))


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_video_that_was_cut_out_at_an_open_group_of_pictures_is_accepted(tmp_path: Path, codec: str) -> None:
    params = {f"{codec[3:]}-params": "log-level=none:keyint=10:open-gop=1:bframes=3"}
    whole = write_video(tmp_path / "whole.mkv", moving_square(40, 48, 64), codec=codec, options=params)
    with av.open(str(whole)) as container, av.open(str(tmp_path / "part.mkv"), "w") as part:
        stream, keys = part.add_stream_from_template(container.streams.video[0]), 0
        for packet in container.demux(video=0):
            keys += packet.is_keyframe
            if keys > 1 and packet.size:
                packet.stream = stream
                part.mux(packet)
    assert len(pixels_of(tmp_path / "part.mkv")) == 30


COVER, FILM = moving_square(1, 96, 96, seed=9), moving_square(12, 48, 64)
DISPOSITION = av.stream.Disposition


def udta_first(path: Path) -> None:
    """Move the tags of an MP4, its cover image with them, before its streams, so that the cover is stream 0."""
    data = path.read_bytes()
    moov = data.index(b"moov") - 4
    end = moov + int.from_bytes(data[moov : moov + 4], "big")
    boxes, position = [], moov + 8
    while position < end:
        length = int.from_bytes(data[position : position + 4], "big")
        boxes.append(data[position : position + length])
        position += length
    boxes.sort(key=lambda box: box[4:8] != b"udta")
    path.write_bytes(data[: moov + 8] + b"".join(boxes) + data[end:])


@pytest.mark.parametrize("name", ["x.mp4", "x.mov", "x.mkv"])
def test_the_stream_that_a_player_chooses(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_streams(path, ("mjpeg", COVER, DISPOSITION.attached_pic), ("libx264", FILM, DISPOSITION.default))
    if name == "x.mp4":
        udta_first(path)
        with av.open(str(path)) as container:
            assert container.streams[0].disposition == DISPOSITION.attached_pic
    if name != "x.mkv":  # there a cover is an attachment
        assert (len(pixels_of(path)), video_info(path)) == (12, (25, ""))
    short = moving_square(5, 32, 32)
    write_streams(path, ("libx264", short, 0), ("libx264", FILM, DISPOSITION.default))
    assert (len(pixels_of(path)), video_info(path)[1]) == (12, "has 2 video streams, of which stream 1 is used")
    write_streams(path, ("mjpeg", COVER, 0), ("libx264", FILM, 0))
    assert (len(pixels_of(path)), video_info(path)[1]) == (12, "has 2 video streams, of which stream 1 is used")


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("x.apng", "apng", "rgba"),
        ("x.mov", "png", "rgba"),
        ("x.mkv", "ffv1", "yuva420p"),
        ("x.avi", "utvideo", "gbrap"),
        ("x.webm", "libvpx-vp9", "yuva420p"),
        ("y.webm", "libvpx", "yuva420p"),
    ],
)
def test_transparent_videos_are_over_black_as_images_are(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    pixels = np.full((3, 48, 64, 4), (200, 100, 50, 0), np.uint8)
    pixels[:, :, 16:32, 3] = 128
    pixels[:, :, :16, 3] = 255
    options = {"auto-alt-ref": "0"} if "vpx" in codec else {}
    path = write_video(tmp_path / name, pixels, codec=codec, pix_fmt=pix_fmt, options=options)
    Image.fromarray(pixels[0]).save(tmp_path / "image.png")
    expected = read_image(tmp_path / "image.png").astype(int)
    assert expected[0, 0].tolist() == [200, 100, 50]
    assert expected[0, 63].tolist() == [0, 0, 0]
    found = pixels_of(path)
    assert len(found) == 3
    assert np.abs(found[2] - expected)[:, [4, 24, 60]].max() <= 6


def test_a_transparent_gif_is_over_black(tmp_path: Path) -> None:
    frames = [Image.new("P", (16, 16), 0) for _ in range(3)]
    for number, frame in enumerate(frames):
        frame.putpalette([255, 255, 255, 200, 100, 50])
        frame.putpixel((number, 0), 1)
    options: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "transparency": 0, "disposal": 2}
    frames[0].save(tmp_path / "x.gif", **options)
    for number, found in enumerate(pixels_of(tmp_path / "x.gif")):
        expected = np.zeros((16, 16, 3), np.uint8)
        expected[0, number] = 200, 100, 50
        np.testing.assert_array_equal(found, expected)
    data = (tmp_path / "x.gif").read_bytes()
    (tmp_path / "x.gif").write_bytes(data[:-1])
    with pytest.raises(ValueError, match="truncated"):
        list(decode_video(tmp_path / "x.gif"))


def sound_alone(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_files_without_video_or_of_unsupported_kinds(tmp_path: Path) -> None:
    sound_alone(tmp_path / "sound.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "document.pdf").write_bytes(b"%PDF-1.7\n" + bytes(range(256)) * 9)
    images = [Image.fromarray(image) for image in moving_square(3, 16, 16)]
    images[0].save(tmp_path / "animated.webp", save_all=True, append_images=images[1:])
    for name, codec, unknown in (
        ("x.mp4", b"avc1", b"zzzz"),
        ("x.avi", b"H264", b"ZZZZ"),
        ("x.mkv", b"MPEG4", b"ZZZZZ"),
    ):
        path = write_video(tmp_path / name, moving_square(5, 48, 64))
        path.write_bytes(path.read_bytes().replace(codec, unknown))
    names = ["text.mp4", "document.pdf", "animated.webp", "x.mp4", "x.avi", "x.mkv"]
    for name, message in [("sound.mp4", "has no video stream"), *((name, "is not supported") for name in names)]:
        with pytest.raises(ValueError, match=rf"{name} {message}") as caught:
            list(decode_video(tmp_path / name))
        assert "damaged" not in str(caught.value)
    with pytest.raises(IsADirectoryError):
        list(decode_video(tmp_path))
    with pytest.raises(ValueError, match=r"animated\.webp is an animated WebP, which is not supported"):
        read_image(tmp_path / "animated.webp")


@pytest.mark.parametrize("name", FORMATS)
def test_a_recording_that_stopped_at_once_is_reported_with_its_name(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, moving_square(5, 48, 64), **FORMATS[name])
    data = path.read_bytes()
    for kept in range(1, 1400, 61):
        path.write_bytes(data[: min(kept, len(data) - 300)])
        found = survey_files([path], ClipCutter(False, Window(1, 1)))[0]
        assert isinstance(found, ValueError)
        assert str(path) in str(found)


def test_without_pyav_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"pip install 'seqviews\[video\]'"):
        next(decode_video(tmp_path / "x.mp4"))
