from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from toy_files import decoded, moving_square, naive_fit, write_csv, write_pictures, write_sound, write_video

from seqviews.pipeline.datasets.csv_files import Folder, look_at_files
from seqviews.pipeline.datasets.csv_index import read_index
from seqviews.pipeline.manifest import load_manifest
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.sources.windows import ClipCutter, SegmentCutter, Window
from seqviews.pipeline.stream.stream import SequenceStream

CLIPS = ClipCutter(False, Window(4, 4), size=32)
PICTURES = ClipCutter(True, Window(4, 4), size=32)
SEGMENTS = SegmentCutter(Window(20, 20))
LENGTHS = {"a": 13, "b": 3, "c": 8, "d": 4}


def make(csv: Path, cutter: ClipCutter | SegmentCutter, threads: int = 1, name: str = "mine") -> Folder:
    index = read_index(csv)
    files, features = look_at_files(index, cutter, threads)
    return Folder(index, files, cutter, features, name, licence="CC0-1.0", attribution="me")


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Four videos of 13, 3, 8 and 4 frames."""
    for seed, (name, length) in enumerate(LENGTHS.items()):
        write_video(tmp_path / f"My Video {name}.mp4", moving_square(length, 48, 64, seed))
    return write_csv(
        tmp_path / "videos.csv",
        ["path", "split", "kind"],
        ["My Video a.mp4", "train", "run"],
        ["My Video b.mp4", "train", "jump"],
        ["My Video c.mp4", "val", "jump"],
        ["My Video d.mp4", "test", "fall"],
    )


def test_a_stream_gives_the_frames_of_the_videos(videos: Path, tmp_path: Path) -> None:
    prepare(make(videos, CLIPS), tmp_path / "out")
    found: dict[str, tuple[np.ndarray, int]] = {}
    for split in ("train", "val", "test"):
        for batch in SequenceStream(tmp_path / "out" / split, 2, factors=["kind"]):
            kinds = batch.factors["kind"].tolist()
            found |= {key: (x, kind) for key, x, kind in zip(batch.keys, batch.x.numpy(), kinds, strict=True)}
    assert sorted(found) == [
        *(f"000002-my-video-a-0000{i}" for i in range(3)),
        *(f"000004-my-video-c-0000{i}" for i in range(2)),
        "000005-my-video-d-00000",
    ]
    for key, (x, kind) in found.items():
        name, first = key[16], 4 * int(key[-5:])
        expected = [naive_fit(p, 32) for p in decoded(videos.parent / f"My Video {name}.mp4")[first : first + 4]]
        assert np.abs(x.transpose(0, 2, 3, 1).astype(int) - np.stack(expected)).max() <= 1
        assert kind == {"a": 2, "c": 1, "d": 0}[name]


def test_the_manifest_says_what_was_left_out(videos: Path, tmp_path: Path) -> None:
    prepare(make(videos, CLIPS), tmp_path / "out")
    manifest = load_manifest(tmp_path / "out" / "train")
    assert manifest.parameters["left_out"] == {
        "train": {"files": 1, "frames": 1},
        "val": {"files": 0, "frames": 0},
        "test": {"files": 0, "frames": 0},
    }
    assert manifest.dataset.features.rate == 25
    assert manifest.dataset.static == {"kind": ["fall", "jump", "run"]}
    assert (manifest.dataset.licence, manifest.dataset.attribution) == ("CC0-1.0", "me")


def test_bytes_do_not_depend_on_threads_and_workers(videos: Path, tmp_path: Path) -> None:
    digests = []
    for count in (1, 2):
        out = tmp_path / str(count)
        prepare(make(videos, CLIPS, threads=count), out, workers=count, shard_sources=1)
        digests.append({p.relative_to(out): hashlib.sha256(p.read_bytes()).digest() for p in out.rglob("*.*")})
    assert digests[0] == digests[1]


def test_other_files_are_other_parameters(videos: Path) -> None:
    before = make(videos, CLIPS).parameters
    assert make(videos, CLIPS).parameters == before
    write_video(videos.parent / "My Video c.mp4", moving_square(8, 48, 64, seed=9))
    after = make(videos, CLIPS).parameters
    assert after["files_sha256"] != before["files_sha256"]
    videos.write_text(videos.read_text().replace("fall", "run"))
    assert make(videos, CLIPS).parameters["files_sha256"] != after["files_sha256"]


def test_rates_that_differ_are_no_rate_of_the_data_set(videos: Path, tmp_path: Path) -> None:
    write_video(videos.parent / "My Video c.mp4", moving_square(8, 48, 64), times=range(0, 80, 10))
    folder = make(videos, CLIPS)
    assert folder.info.features.rate is None
    rates = {p: next(iter(folder.records(f"My Video {p}.mp4", np.random.default_rng()))).rate for p in "ac"}
    assert rates == {"a": 25.0, "c": pytest.approx(10.0, rel=0.1)}


def test_a_damaged_file_is_told_with_its_line_before_anything_is_written(videos: Path) -> None:
    path = videos.parent / "My Video c.mp4"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"line 4 of the CSV: video .*My Video c\.mp4 cannot be decoded"):
        make(videos, CLIPS, threads=2)


def test_all_the_damaged_files_are_named_at_once(videos: Path) -> None:
    for name in "acd":
        (videos.parent / f"My Video {name}.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"line 2 of .*a\.mp4 .*; the files of 2 more lines are wrong too: 4, 5$"):
        make(videos, CLIPS)


def test_a_split_whose_files_are_all_too_short(videos: Path) -> None:
    with pytest.raises(ValueError, match=r"no file of the split test is long enough: .* 5 frames, the longest file 4"):
        make(videos, ClipCutter(False, Window(5, 5)))


def test_the_same_content_in_two_splits(videos: Path) -> None:
    (videos.parent / "My Video d.mp4").write_bytes((videos.parent / "My Video a.mp4").read_bytes())
    with pytest.raises(ValueError, match=r"lines 2 and 5 .*My Video a\.mp4 and My Video d\.mp4, have the same content"):
        make(videos, CLIPS)


def test_a_name_that_is_none(videos: Path) -> None:
    with pytest.raises(ValueError, match=r"'My Data' is not made of .* --name"):
        make(videos, CLIPS, name="My Data")


def test_folders_of_pictures(tmp_path: Path) -> None:
    pixels = moving_square(11, 32, 32)
    write_pictures(tmp_path / "walk" / "01", pixels)
    csv = write_csv(tmp_path / "x.csv", ["path", "split"], ["walk/01", "train"])
    prepare(make(csv, PICTURES), tmp_path / "out")
    (batch,) = SequenceStream(tmp_path / "out" / "train", 2)
    clips = dict(zip(batch.keys, batch.x.numpy().transpose(0, 1, 3, 4, 2), strict=True))
    np.testing.assert_array_equal(clips["000002-01-00000"], pixels[:4])
    np.testing.assert_array_equal(clips["000002-01-00001"], pixels[4:8])


def test_sounds(tmp_path: Path) -> None:
    for seed, name in enumerate(["a", "b", "c"]):
        write_sound(tmp_path / f"{name}.wav", 0.5, seed)
    rows = [["a.wav", "train", "p"], ["b.wav", "train", "q"], ["c.wav", "val", "r"]]
    csv = write_csv(tmp_path / "x.csv", ["path", "split", "speaker"], *rows)
    manifests = prepare(make(csv, SEGMENTS), tmp_path / "out")
    assert {split: len(manifest) for split, manifest in manifests.items()} == {"train": 4, "val": 2}
    assert load_manifest(tmp_path / "out" / "val").dataset.modality == "segment"
    csv.write_text(csv.read_text().replace("train", "test"))
    with pytest.raises(ValueError, match="no file of the split train is as long as a segment"):
        make(csv, SEGMENTS)
