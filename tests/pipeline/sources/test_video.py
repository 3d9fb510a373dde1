import io
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from PIL import Image
from toy_files import decoded, moving_square, naive_fit, write_images, write_video

from seqviews.pipeline.sources.video import ClipCutter, fit, list_images, read_image
from seqviews.pipeline.sources.windows import Window


@pytest.mark.parametrize("height", [37, 64])
@pytest.mark.parametrize(("width", "size"), [(53, 32), (64, 64), (40, 80)])
@pytest.mark.parametrize("grey", [False, True])
def test_fit_is_pillows_resize_and_crop(height: int, width: int, size: int, grey: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = fit(pixels, size, grey)
    assert (found.shape, found.flags.c_contiguous) == ((size, size, 1 if grey else 3), True)
    assert np.abs(found.astype(int) - naive_fit(Image.fromarray(pixels), size, grey)).max() <= 1


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


@pytest.mark.parametrize("trailer", [b"", bytes(5000), b"\xff" * 2000, b"....ftypmp42" + bytes(range(256)) * 20])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}, {"comment": b"\xff\xd9"}])
def test_a_jpeg_with_a_trailer_is_complete_and_one_with_a_thumbnail_may_be_cut(
    tmp_path: Path, trailer: bytes, options: dict[str, Any]
) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8))
    image.resize((16, 16)).save(thumbnail := io.BytesIO(), "JPEG")
    image.save(tmp_path / "x.jpg", exif=b"Exif\0\0" + thumbnail.getvalue(), **options)
    data, expected = (tmp_path / "x.jpg").read_bytes(), read_image(tmp_path / "x.jpg")
    (tmp_path / "x.jpg").write_bytes(data + trailer)
    np.testing.assert_array_equal(read_image(tmp_path / "x.jpg"), expected)
    for kept in (1, 2, len(data) // 2, len(data) - 1000):
        (tmp_path / "x.jpg").write_bytes(data[:-kept])
        with pytest.raises(ValueError, match=r"x\.jpg (is truncated|cannot be decoded)"):
            read_image(tmp_path / "x.jpg")


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
    ],
)
def test_a_clip_cutter_out_of_bounds(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClipCutter(**{"images": True, "window": Window(2, 2), **options})
