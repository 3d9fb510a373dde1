from pathlib import Path

import numpy as np
import pytest
from toy_clips import digests
from toy_files import decoded, moving_square, naive_fit, write_csv, write_sound, write_video

from seqviews.pipeline.datasets.csv import CsvDataset, read_index, survey_rows
from seqviews.pipeline.manifest import SPLITS, load_manifest
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.sources.audio import SegmentCutter
from seqviews.pipeline.sources.video import ClipCutter
from seqviews.pipeline.sources.windows import Window
from seqviews.pipeline.stream.stream import SequenceStream

CLIPS = ClipCutter(False, Window(4, 4), size=32)
SEGMENTS = SegmentCutter(Window(20, 20))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.MOV", "c.mkv", "d.wav", "e.FLAC"):
        (tmp_path / name).touch()
    (tmp_path / "frames").mkdir()
    return tmp_path


def test_rows_and_classes(folder: Path) -> None:
    path = write_csv(
        folder / "x.csv",
        ["kind", "path", "split", "person"],
        ["run", "a.mp4", "train", "Zoë"],
        ["jump", " b.MOV ", "val", "10"],
        ["run", str(folder / "c.mkv"), "test", "9"],
    )
    index = read_index(path)
    assert index.classes == {"kind": ["jump", "run"], "person": ["10", "9", "Zoë"]}
    rows = [(row.line, row.file.name, row.split, index.factors(row)) for row in index.rows]
    assert rows == [
        (2, "a.mp4", "train", {"kind": 1, "person": 2}),
        (3, "b.MOV", "val", {"kind": 0, "person": 0}),
        (4, "c.mkv", "test", {"kind": 1, "person": 1}),
    ]


def test_a_spreadsheet_with_paths_relative_to_another_folder(folder: Path) -> None:
    """Its byte order mark and line ends are those that a spreadsheet writes."""
    path = folder / "frames" / "x.csv"
    path.write_bytes('\ufeffpath,split\r\na.mp4,train\r\n"b.MOV",val\r\n'.encode())
    assert [row.file for row in read_index(path, folder).rows] == [folder / "a.mp4", folder / "b.MOV"]
    with pytest.raises(ValueError, match=r"line 2: .*a\.mp4 does not exist"):
        read_index(path)


def test_the_kind_is_inferred_from_the_paths_or_given(folder: Path) -> None:
    for kind, names in {"video": ["a.mp4", "c.mkv"], "audio": ["d.wav", "e.FLAC"], "frames": ["frames"]}.items():
        path = write_csv(folder / "x.csv", ["path", "split"], *([name, "train"] for name in names))
        assert (read_index(path).kind, read_index(path, kind="audio").kind) == (kind, "audio")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"has the columns \[\]"),
        ("path;split\na.mp4;train\n", "separated by commas"),
        ("path,split\n", "lists no files"),
        ("path,split,Kind of\na.mp4,train,x\n", "column 'Kind of'"),
        ("path,split,kind,kind\na.mp4,train,x,x\n", "column 'kind'"),
        ("path,split,kind\na.mp4,train,x\n\nb.MOV,val,\n", "line 4: kind is empty"),
        ("path,split,kind\na.mp4,train,x\nb.MOV,val\n", "line 3: the number of cells differs from the header's"),
        ("path,split\na.mp4,train,x\n", "line 2: the number of cells differs from the header's"),
        ("path,split\na.mp4,dev\n", "line 2: the split 'dev' is not one of train, val, test"),
        ("path,split\nz.mp4,train\n", r"line 2: .*z\.mp4 does not exist"),
        ("path,split\na.mp4,train\nb.MOV,val\n./a.mp4,test\n", r"lines 2 and 4 are the same file, \./a\.mp4"),
        ("path,split\na.mp4,train\nd.wav,val\n", "line 2 is video and line 3 is audio"),
        ("path,split,person\na.mp4,train,p\nb.MOV,val,q\nc.mkv,test,p\n", r"person p is in train .line 2. and in test"),
        ("path,split,people\na.mp4,train,p\n", "has no column 'person'"),
        (f"path,split,kind\na.mp4,train,{'x' * 201}\n", "line 2: kind has 201 characters"),
        ('path,split\n"a.mp4"x,train\n', "is not a CSV"),
        ("path,split\nM\xfcller.mp4,train\n", "is not a CSV in UTF-8"),
    ],
)
def test_mistakes_are_reported_with_their_line(folder: Path, text: str, message: str) -> None:
    (folder / "x.csv").write_text(text, encoding="latin-1")
    identity = "person" if "pe" in text else None
    with pytest.raises(ValueError, match=message) as caught:
        read_index(folder / "x.csv", identity=identity)
    assert "x.csv" in str(caught.value)


def make(csv: Path, cutter: ClipCutter | SegmentCutter, threads: int = 1, name: str = "mine") -> CsvDataset:
    index = read_index(csv)
    files, features = survey_rows(index, cutter, threads)
    return CsvDataset(index, files, cutter, features, name, licence="CC0-1.0", attribution="me")


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Four videos of 13, 3, 8 and 4 frames."""
    for seed, (name, length) in enumerate({"a": 13, "b": 3, "c": 8, "d": 4}.items()):
        write_video(tmp_path / f"My Video {name}.mp4", moving_square(length, 48, 64, seed))
    rows = [("a", "train", "run"), ("b", "train", "jump"), ("c", "val", "jump"), ("d", "test", "fall")]
    lines = [[f"My Video {name}.mp4", split, kind] for name, split, kind in rows]
    return write_csv(tmp_path / "videos.csv", ["path", "split", "kind"], *lines)


def test_a_stream_returns_the_frames_of_the_videos_and_manifests_count_what_was_left_out(
    videos: Path, tmp_path: Path
) -> None:
    prepare(make(videos, CLIPS), tmp_path / "out", shard_sources=1)
    prepare(make(videos, CLIPS, threads=2), tmp_path / "two", workers=2, shard_sources=1)
    assert digests(tmp_path / "out") == digests(tmp_path / "two")
    found: dict[str, tuple[np.ndarray, int]] = {}
    for split in SPLITS:
        for batch in SequenceStream(tmp_path / "out" / split, 2, factors=["kind"]):
            kinds = batch.factors["kind"].tolist()
            found |= {key: (x, kind) for key, x, kind in zip(batch.keys, batch.x.numpy(), kinds, strict=True)}
    numbers = {"000002-my-video-a": 3, "000004-my-video-c": 2, "000005-my-video-d": 1}
    assert sorted(found) == [f"{stem}-{i:05d}" for stem, count in numbers.items() for i in range(count)]
    for key, (x, kind) in found.items():
        name, first = key[16], 4 * int(key[-5:])
        expected = [naive_fit(p, 32) for p in decoded(videos.parent / f"My Video {name}.mp4")[first : first + 4]]
        assert np.abs(x.transpose(0, 2, 3, 1).astype(int) - np.stack(expected)).max() <= 1
        assert kind == {"a": 2, "c": 1, "d": 0}[name]
    manifest = load_manifest(tmp_path / "out" / "train")
    nothing = {"files": 0, "frames": 0}
    assert manifest.parameters["left_out"] == {"train": {"files": 1, "frames": 1}, "val": nothing, "test": nothing}
    info = manifest.dataset
    assert (info.features.rate, info.licence, info.attribution) == (25, "CC0-1.0", "me")
    assert info.static == {"kind": ["fall", "jump", "run"]}


def test_other_files_are_other_parameters(videos: Path) -> None:
    before = make(videos, CLIPS).parameters
    assert make(videos, CLIPS).parameters == before
    write_video(videos.parent / "My Video c.mp4", moving_square(8, 48, 64, seed=9))
    after = make(videos, CLIPS).parameters
    assert after["files_sha256"] != before["files_sha256"]
    videos.write_text(videos.read_text().replace("fall", "run"))
    assert make(videos, CLIPS).parameters["files_sha256"] != after["files_sha256"]


def test_the_data_set_has_no_rate_if_the_files_differ(videos: Path) -> None:
    write_video(videos.parent / "My Video c.mp4", moving_square(8, 48, 64), times=range(0, 80, 10))
    dataset = make(videos, CLIPS)
    assert dataset.info.features.rate is None
    rates = {p: next(iter(dataset.records(f"My Video {p}.mp4", np.random.default_rng()))).rate for p in "ac"}
    assert rates == {"a": 25.0, "c": pytest.approx(10.0, rel=0.1)}


def test_all_damaged_files_are_reported_with_their_lines(videos: Path) -> None:
    for damaged, message in [
        ("c", r"^1 of the 4 files .*: line 4: video .*My Video c\.mp4 cannot be decoded[^;]*$"),
        ("ad", r"^3 of the 4 .*: line 2: .*a\.mp4 [^;]*; line 4: .*c\.mp4 [^;]*; line 5: .*d\.mp4 [^;]*$"),
    ]:
        for name in damaged:
            path = videos.parent / f"My Video {name}.mp4"
            path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(ValueError, match=message):
            make(videos, CLIPS, threads=2)


def test_data_sets_that_are_rejected(videos: Path) -> None:
    with pytest.raises(ValueError, match=r"'My Data' does not consist of .* --name"):
        make(videos, CLIPS, name="My Data")
    with pytest.raises(ValueError, match=r"no file of the split test is long enough: .* 5 frames, the longest file 4"):
        make(videos, ClipCutter(False, Window(5, 5)))
    (videos.parent / "My Video d.mp4").write_bytes((videos.parent / "My Video a.mp4").read_bytes())
    with pytest.raises(ValueError, match=r"lines 2 and 5 .*My Video a\.mp4 and My Video d\.mp4, have the same content"):
        make(videos, CLIPS)


def test_sounds(tmp_path: Path) -> None:
    for seed, name in enumerate("abc"):
        write_sound(tmp_path / f"{name}.wav", 0.5, seed)
    rows = [["path", "split", "speaker"], ["a.wav", "train", "p"], ["b.wav", "train", "q"], ["c.wav", "val", "r"]]
    csv = write_csv(tmp_path / "x.csv", *rows)
    manifests = prepare(make(csv, SEGMENTS), tmp_path / "out")
    assert {split: len(manifest) for split, manifest in manifests.items()} == {"train": 4, "val": 2}
    assert load_manifest(tmp_path / "out" / "val").dataset.modality == "segment"
    csv.write_text(csv.read_text().replace("train", "test"))
    with pytest.raises(ValueError, match="no file of the split train is as long as a segment"):
        make(csv, SEGMENTS)
