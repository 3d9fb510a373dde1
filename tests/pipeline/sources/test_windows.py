from __future__ import annotations

from collections import Counter
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_files import decoded, moving_square, naive_fit, write_pictures, write_sound, write_video

from seqviews.pipeline.records import Clip, Segment
from seqviews.pipeline.sources.audio import log_mel, read_wave
from seqviews.pipeline.sources.windows import ClipCutter, SegmentCutter, Window


@given(length=st.integers(0, 40), frames=st.integers(1, 12), stride=st.integers(1, 12))
def test_a_window_cuts_what_a_list_would_slice(length: int, frames: int, stride: int) -> None:
    window = Window(frames, stride)
    everything = list(range(length))
    expected = [everything[start : start + frames] for start in range(0, length, stride) if start + frames <= length]
    assert list(window.cut(iter(everything))) == expected
    assert window.count(length) == len(expected)
    used = Counter(frame for sequence in expected for frame in sequence)
    assert window.left_out(length) == length - len(used)


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("grey", [False, True])
def test_clips_of_a_video(tmp_path: Path, step: int, grey: bool) -> None:
    path = write_video(tmp_path / "x.mp4", moving_square(20, 48, 64))
    cutter = ClipCutter(False, Window(4, 3), step, 32, grey)
    frames = [naive_fit(picture, 32, grey) for picture in decoded(path)[::step]]
    clips = list(cutter.records(path, "x", factors={"kind": 1}, source="x.mp4", rate=5.0))
    starts = range(0, len(frames) - 3, 3)
    assert [clip.key for clip in clips] == [f"x-{number:05d}" for number in range(len(starts))]
    for clip, start in zip(clips, starts, strict=True):
        assert isinstance(clip, Clip)
        assert (clip.factors, clip.source, clip.rate) == ({"kind": 1}, "x.mp4", 5.0)
        assert np.abs(clip.frames.astype(int) - np.stack(frames[start : start + 4])).max() <= 1
    look = cutter.look(path, Event())
    assert (look.frames, look.rate) == (len(frames), 25 / step)


def test_clips_of_pictures_that_need_no_resizing_are_their_pixels(tmp_path: Path) -> None:
    pixels = moving_square(23, 32, 32)
    folder = write_pictures(tmp_path / "x", pixels)
    cutter = ClipCutter(True, Window(5, 5), step=2, size=32)
    clips = list(cutter.records(folder, "x"))
    np.testing.assert_array_equal(np.concatenate([clip.frames for clip in clips]), pixels[::2][:10])
    look = cutter.look(folder, Event())
    assert (look.frames, look.rate) == (12, None)


def test_pictures_of_a_folder_are_of_one_size(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "x", moving_square(2, 32, 48))
    (write_pictures(tmp_path / "y", moving_square(1, 48, 32)) / "0.png").rename(folder / "2.png")
    with pytest.raises(ValueError, match=r"1\.png is 48 x 32 and 2\.png is 32 x 48"):
        ClipCutter(True, Window(2, 2)).look(folder, Event())


def test_segments_of_a_sound(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "x.wav", 0.9)
    cutter = SegmentCutter(Window(20, 20))
    mels = log_mel(read_wave(path))
    segments = list(cutter.records(path, "x", factors={}, source="x.wav", rate=100.0))
    assert len(segments) == 4
    assert len(mels) == 91
    for number, segment in enumerate(segments):
        assert isinstance(segment, Segment)
        np.testing.assert_array_equal(segment.mel, mels[20 * number : 20 * number + 20])
        assert segment.start == pytest.approx(0.2 * number)


def test_mean_and_deviation_are_those_of_the_training_segments(tmp_path: Path) -> None:
    cutter = SegmentCutter(Window(20, 20))
    paths = [write_sound(tmp_path / f"{i}.wav", 0.5 + i / 7, seed=i, gain=0.1 * i) for i in range(4)]
    looks = [cutter.look(path, Event()) for path in paths]
    features = cutter.features(looks, looks[:3])
    used = np.concatenate([r.mel for path in paths[:3] for r in cutter.records(path, "x")]).astype(np.float64)
    assert features.mel is not None
    np.testing.assert_allclose(features.mel.mean, used.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(features.mel.std, used.std(axis=0), rtol=1e-9)
    assert (features.shape, features.rate) == ((20, 80), 100.0)


def test_silence_has_segments_that_never_change(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "x.wav", 0.5, gain=0)
    cutter = SegmentCutter(Window(20, 20))
    looks = [cutter.look(path, Event())]
    mel = cutter.features(looks, looks).mel
    assert mel is not None
    np.testing.assert_allclose(mel.mean, np.log(1e-10), rtol=1e-6)
    np.testing.assert_allclose(mel.std, 0, atol=1e-5)
    assert len(list(cutter.records(path, "x"))) == 2


def test_a_sound_shorter_than_a_transform_has_no_frames(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "x.wav", 0.03)
    cutter = SegmentCutter(Window(2, 2))
    assert cutter.look(path, Event()).frames == 0
    assert list(cutter.records(path, "x")) == []


def test_a_reading_stops_when_asked(tmp_path: Path) -> None:
    stop = Event()
    stop.set()
    path = write_video(tmp_path / "x.mp4", moving_square(20, 48, 64))
    with pytest.raises(InterruptedError):
        ClipCutter(False, Window(4, 4)).look(path, stop)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 0}, "every 0th frame"),
        ({"size": 0}, "in 0 pixels"),
        ({"size": 4097}, "in 4097 pixels"),
        ({"window": Window(8, 8), "size": 2048}, "16383: use --codec npy"),
    ],
)
def test_what_makes_no_clips(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClipCutter(**{"pictures": True, "window": Window(2, 2), **options})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="0 frames"):
        Window(0, 1)
