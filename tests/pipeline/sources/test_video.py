from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from toy_files import decoded, moving_square, naive_fit, write_images, write_video

from seqviews.pipeline.sources.video import ClipCutter, decode_video, fit, list_images, read_image, upright, video_rate
from seqviews.pipeline.sources.windows import Window

FORMATS: dict[str, dict[str, Any]] = {
    "x.mp4": {},
    "fast.mp4": {"container_options": {"movflags": "faststart"}},
    "fragments.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "x.mkv": {},
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
    for frames in (13,) if name == "x.ts" else (13, 1):  # PyAV marks the packet of a single frame in .ts as corrupt
        path = write_video(tmp_path / name, moving_square(frames, height, width), **options)
        assert_equal(pixels_of(path), decoded(path))
        assert len(pixels_of(path)) == frames
        assert frames == 1 or video_rate(path) == 25


@pytest.mark.parametrize("height", [37, 64])
@pytest.mark.parametrize(("width", "size"), [(53, 32), (64, 64), (40, 80)])
@pytest.mark.parametrize("grey", [False, True])
def test_fit_is_pillows_resize_and_crop(height: int, width: int, size: int, grey: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = fit(pixels, size, grey)
    assert (found.shape, found.flags.c_contiguous) == ((size, size, 1 if grey else 3), True)
    assert np.abs(found.astype(int) - naive_fit(Image.fromarray(pixels), size, grey)).max() <= 1


def test_the_rotation_of_a_telephone(tmp_path: Path) -> None:
    """A telephone that was held upright writes this matrix to `tkhd`: (x, y) is shown at (-y, x), y pointing down."""
    matrix = b"".join(v.to_bytes(4, "big", signed=True) for v in (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30))
    flat = write_video(tmp_path / "flat.mp4", moving_square(3, 48, 64))
    data = flat.read_bytes()
    start = data.index(b"tkhd") + 4 + 40
    assert data[start : start + 4] == (1 << 16).to_bytes(4, "big")
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(data[:start] + matrix + data[start + 36 :])
    assert_equal(pixels_of(turned), [image.transpose(Image.Transpose.ROTATE_270) for image in decoded(flat)])


@pytest.mark.parametrize("rotation", [90, 180, -90, 30])
def test_rotations_as_pyav_writes_them(tmp_path: Path, rotation: int) -> None:
    path = write_video(tmp_path / "x.mp4", moving_square(2, 48, 64), rotation=rotation)
    if rotation == 30:
        with pytest.raises(ValueError, match=r"x\.mp4 is rotated by -?(29|30) degrees"):
            list(decode_video(path))
        return
    assert_equal(pixels_of(path), [image.rotate(rotation, expand=True) for image in decoded(path)])


@pytest.mark.parametrize("name", ["x.mp4", "x.mkv"])
def test_frames_of_a_variable_rate_are_all_used(tmp_path: Path, name: str) -> None:
    pixels, times = moving_square(6, 48, 64), [0, 4, 8, 50, 54, 100]
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


def sound_alone(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_files_without_video(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    sound_alone(tmp_path / "sound.mp4")
    for name, message in [("text.mp4", "cannot be decoded"), ("sound.mp4", "has no video stream")]:
        with pytest.raises(ValueError, match=rf"{name} {message}"):
            list(decode_video(tmp_path / name))


def test_without_pyav_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"pip install 'seqviews\[video\]'"):
        next(decode_video(tmp_path / "x.mp4"))


def test_images_are_in_natural_order(tmp_path: Path) -> None:
    for name in ["a2.png", "b1.png", "a10.png", "a1.JPG", "Thumbs.db", ".a3.png", "a1.webp"]:
        (tmp_path / name).touch()
    assert [p.name for p in list_images(tmp_path)] == ["a1.JPG", "a1.webp", "a2.png", "a10.png", "b1.png"]
    with pytest.raises(ValueError, match="has no images"):
        list_images(write_images(tmp_path / "empty", np.empty((0, 4, 4, 3), np.uint8)))


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "webp", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA"])
def test_images_are_those_that_pillow_decodes_over_black(tmp_path: Path, suffix: str, mode: str) -> None:
    path = tmp_path / f"x.{suffix}"
    alpha = np.random.default_rng(0).integers(0, 256, (37, 53, 1), dtype=np.uint8)
    image = Image.fromarray(np.concatenate([moving_square(1, 37, 53)[0], alpha], axis=2)).convert(mode)
    (image.convert("L") if suffix.startswith("j") and mode not in ("RGB", "1") else image).save(path, lossless=True)
    above = Image.open(path).convert("RGBA")
    expected = Image.alpha_composite(Image.new("RGBA", above.size, (0, 0, 0, 255)), above).convert("RGB")
    assert np.abs(read_image(path).astype(int) - np.asarray(expected)).max() <= (mode in ("RGBA", "LA"))


def test_truncated_and_other_images_are_rejected(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for path in (tmp_path / "x.png", tmp_path / "x.jpg", tmp_path / "x.webp"):
        noise.save(path)
        data = path.read_bytes()
        for kept in (0.0, 0.5, 0.95):
            path.write_bytes(data[: int(kept * len(data))])
            with pytest.raises(ValueError, match=rf"{path.name} (cannot be decoded|is truncated)"):
                read_image(path)
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "deep.png")
    Image.new("CMYK", (8, 8)).save(tmp_path / "print.jpg")
    for name in ("deep.png", "print.jpg"):
        with pytest.raises(ValueError, match=f"{name} is uint.*: convert it to 8 bits"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("grey", [False, True])
def test_clips_of_a_video(tmp_path: Path, step: int, grey: bool) -> None:
    path = write_video(tmp_path / "x.mp4", moving_square(20, 48, 64))
    cutter = ClipCutter(False, Window(4, 3), step, 32, grey)
    frames = [naive_fit(image, 32, grey) for image in decoded(path)[::step]]
    facts: dict[str, Any] = {"factors": {"kind": 1}, "source": "x.mp4", "rate": 5.0}
    clips = list(cutter.records(path, "x-{:05d}", np.random.default_rng(), **facts))
    starts = range(0, len(frames) - 3, 3)
    assert [clip.key for clip in clips] == [f"x-{number:05d}" for number in range(len(starts))]
    for clip, start in zip(clips, starts, strict=True):
        assert {name: getattr(clip, name) for name in facts} == facts
        assert np.abs(clip.frames.astype(int) - np.stack(frames[start : start + 4])).max() <= 1
    survey = cutter.survey(path, Event())
    assert (survey.frames, survey.rate) == (len(frames), 25 / step)


def test_clips_of_images_that_are_not_resized_are_their_pixels(tmp_path: Path) -> None:
    pixels = moving_square(23, 32, 32)
    folder = write_images(tmp_path / "x", pixels)
    cutter = ClipCutter(True, Window(5, 5), step=2, size=32)
    clips = list(cutter.records(folder, "{}", np.random.default_rng()))
    np.testing.assert_array_equal(np.concatenate([clip.frames for clip in clips]), pixels[::2][:10])
    survey = cutter.survey(folder, Event())
    assert (survey.frames, survey.rate) == (12, None)
    (write_images(tmp_path / "y", moving_square(1, 48, 40)) / "0.png").replace(folder / "22.png")
    with pytest.raises(ValueError, match=r"20\.png is 32 x 32 and 22\.png is 40 x 48"):
        cutter.survey(folder, Event())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 0}, "every 0th frame"),
        ({"size": 0}, "in 0 pixels"),
        ({"size": 4097}, "in 4097 pixels"),
        ({"window": Window(8, 8), "size": 2048}, "16383 rows: use --codec npy"),
    ],
)
def test_a_clip_cutter_out_of_bounds(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClipCutter(**{"images": True, "window": Window(2, 2), **options})
