"""prepare_tars on tars that other tools make: the frames that PyAV decodes, and what is broken is named."""

import json
import subprocess
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tool_calls import Capsys, Failure, call, last_json
from toy_clips import digests
from toy_files import decoded, moving_square, naive_fit, write_images, write_sound, write_video

from seqviews.pipeline import RecordSet
from seqviews.pipeline.manifest import SPLITS
from seqviews.pipeline.prepare.failures import read_failures
from seqviews.pipeline.shards.check import check_dataset
from seqviews.pipeline.sources.tars import BrokenTar, read_samples, tar_name
from seqviews.tools import finalize, prepare_tars

FRAMES, SIZE = 5, 16


def pack(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, BytesIO(data))
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tars of six videos of 12 frames each, made by GNU tar; the labels are in JSON members."""
    folder = tmp_path_factory.mktemp("tars")
    for tar in range(3):
        inside = folder / f"inside-{tar}" / "some.where"
        inside.mkdir(parents=True)
        for number in range(6):
            seed = 6 * tar + number
            write_video(inside / f"Clip {seed}.mp4", moving_square(12, 24, 32, seed=seed))
            label = {"speaker": f"s{seed % 4}", "take": seed % 2, "caption": f"number {seed}"}
            (inside / f"Clip {seed}.json").write_text(json.dumps(label))
        command = [
            "tar",
            "--sort=name",
            "-cf",
            f"{folder}/videos-{tar:03d}.tar",
            "-C",
            str(inside.parent),
            "some.where",
        ]
        subprocess.run(command, check=True)
    return folder


def options(videos: Path, out: Path, tars: str = "videos-{000..002}.tar") -> list[Any]:
    shape = ["--video", "mp4", "--frames", FRAMES, "--size", SIZE, "--workers", 1]
    return ["--tars", f"{videos}/{tars}", *shape, "--factors", "speaker", "take", "--out", out]


def test_records_are_the_frames_that_pyav_decodes(videos: Path, tmp_path: Path, capsys: Capsys) -> None:
    out = tmp_path / "out"
    splits = ["--splits", 0.6, 0.2, 0.2]
    assert call(prepare_tars.main, *options(videos, out), *splits, "--json") == 0
    summary = last_json(capsys.readouterr().out)
    assert "failures" not in summary["train"]
    seen: dict[str, str] = {}
    for split in (split for split in SPLITS if split in summary):
        records = RecordSet(out / split)
        batch = records.batch(range(len(records)), ["speaker", "take"])
        for i, source in enumerate(records.sources()[0][n] for n in records.sources()[1]):
            number = int(source.rpartition(" ")[2])
            seen[source] = split
            (path,) = videos.rglob(f"Clip {number}.mp4")
            part = int(batch.keys[i].rpartition("-")[2])
            images = decoded(path)[part * FRAMES : (part + 1) * FRAMES]
            expected = np.stack([naive_fit(image, SIZE) for image in images])
            found = batch.x[i].permute(0, 2, 3, 1).numpy()
            assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
            names = records.manifest.factors["speaker"]
            assert names is not None
            assert names[int(batch.factors["speaker"][i])] == f"s{number % 4}"
            assert int(batch.factors["take"][i]) == number % 2
    assert len(seen) == 18
    assert len(set(seen.values())) == 3
    assert sum(summary[split]["records"] for split in set(seen.values())) == 18 * 2
    assert not [problem for check in check_dataset(out).values() for problem in check.problems]


def test_pipes_and_identities(videos: Path, tmp_path: Path) -> None:
    """Through a pipe and in two parts; a speaker is in one split."""
    tars = [f"pipe:cat {videos}/videos-{tar:03d}.tar" for tar in range(3)]
    identity = ["--identity", "speaker", "--splits", 0.5, 0.25, 0.25]
    arguments = options(videos, tmp_path)[2:-1]
    assert call(prepare_tars.main, "--tars", *tars, *arguments, tmp_path / "pipe", *identity) == 0
    assert call(prepare_tars.main, *options(videos, tmp_path / "files"), *identity) == 0
    assert digests(tmp_path / "pipe")["train/manifest.json"] == digests(tmp_path / "files")["train/manifest.json"]
    checks = check_dataset(tmp_path / "files", identity=["speaker"])
    assert not [problem for check in checks.values() for problem in check.problems]


def test_what_is_broken_is_counted_and_named(videos: Path, tmp_path: Path, capsys: Capsys, failure: Failure) -> None:
    whole = {sample["__key__"]: sample for sample in read_samples(f"{videos}/videos-000.tar")}
    mp4 = next(iter(whole.values()))["mp4"]
    label = b'{"speaker": "a", "take": 1}'
    members = {
        "good.mp4": mp4,
        "good.json": label,
        "half.mp4": mp4[: len(mp4) // 2],
        "half.json": label,
        "wordless.mp4": mp4 + b"\0",
        "mute.json": label,
        "list.mp4": mp4,
        "list.json": b'{"speaker": ["a"], "take": 1}',
    }
    pack(tmp_path / "mixed-0.tar", members)
    data = (videos / "videos-001.tar").read_bytes()
    (tmp_path / "cut-1.tar").write_bytes(data[: len(data) // 2])
    arguments = options(tmp_path, tmp_path / "out", "{mixed-0,cut-1,none}.tar")
    line = failure(prepare_tars.main, *arguments, alone=False)
    assert "samples and ends of tars cannot be read: mixed-0/half: " in line
    arguments += ["--splits", 1, 0, 0, "--json"]
    assert "6 of 9 samples" in failure(prepare_tars.main, *arguments, "--max-failures", 5, alone=False)
    assert call(prepare_tars.main, *arguments, "--max-failures", 6) == 0
    output = capsys.readouterr()
    listed = json.loads((tmp_path / "out" / "train" / "failures.json").read_text())["failures"]
    assert listed == last_json(output.out)["train"]["failures"]
    assert {(f["source"], f.get("sample", "")): f["reason"].partition(" cannot ")[0][:21] for f in listed} == {
        ("train/00000-mixed-0", "half"): "video",
        ("train/00000-mixed-0", "wordless"): "its JSON has no field",
        ("train/00000-mixed-0", "mute"): "has no .mp4: its memb",
        ("train/00000-mixed-0", "list"): "its JSON has no field",
        ("train/00001-cut-1", ""): "cut-1",
        ("train/00002-none", ""): "none",
    }
    assert "left out: train/00000-mixed-0/mute of train: has no .mp4" in output.err
    assert "/tmp" not in " ".join(f["reason"] for f in listed if "sample" in f)
    records = RecordSet(tmp_path / "out" / "train")
    assert records.manifest.parameters["failed_sources"] == 6
    assert {name.partition("/")[0] for name in records.sources()[0]} == {"mixed-0", "cut-1"}


def shown(out: Path) -> dict[str, bytes]:
    """The frames of every record, by split and key."""
    sets = {path.parent.name: RecordSet(path.parent) for path in out.glob("*/manifest.json")}
    batches = {split: records.batch(range(len(records))) for split, records in sets.items()}
    return {
        f"{split}/{key}": x.numpy().tobytes()
        for split, b in batches.items()
        for key, x in zip(b.keys, b.x, strict=True)
    }


def test_what_is_mended_is_retried(videos: Path, tmp_path: Path) -> None:
    """A sample and a tar are mended one after the other; in the end every record is where it is without failures."""
    splits = ["--splits", 0.6, 0.2, 0.2]
    assert call(prepare_tars.main, *options(videos, tmp_path / "whole"), *splits) == 0
    whole, out, parts = shown(tmp_path / "whole"), tmp_path / "out", tmp_path / "parts"
    # a sample that is not the only one of its split and tar
    of_tar = [key.rpartition("-")[0] for key in whole if "/00001-" in key and key.endswith("0")]
    split = next(s for s in ("val", "test", "train") if sum(key.startswith(s) for key in of_tar) > 1)
    name = next(key for key in of_tar if key.startswith(split)).rpartition("clip-")[2]
    for tar in range(3):
        data = (videos / f"videos-{tar:03d}.tar").read_bytes()
        (tmp_path / f"videos-{tar:03d}.tar").write_bytes(data if tar < 2 else data[: len(data) // 2])
    with tarfile.open(videos / "videos-001.tar") as opened:
        members = {m.name: file.read() for m in opened if (file := opened.extractfile(m)) is not None}
    damaged = {n: data[: len(data) // 2] if n.endswith(f"Clip {name}.mp4") else data for n, data in members.items()}
    pack(tmp_path / "videos-001.tar", damaged)
    accepted = ["--max-failures", 4]
    assert call(prepare_tars.main, *options(tmp_path, out), *splits, *accepted) == 0
    for part in ("2/2", "1/2"):
        assert call(prepare_tars.main, *options(tmp_path, parts), *splits, *accepted, "--part", part) == 0
    assert call(finalize.main, parts) == 1
    assert call(finalize.main, parts, *accepted) == 0
    assert digests(parts) == digests(out)
    files = [out / s / "failures.json" for s in SPLITS]
    listed = [f for file in files for f in read_failures(file)]
    assert [(f.split, f.source[-11:], f.sample) for f in listed if f.sample] == [
        ("train", "-videos-001", f"some.where/Clip {name}")
    ]
    assert [(f.split, f.source[-11:]) for f in listed if not f.sample] == [(s, "-videos-002") for s in SPLITS]
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*.tar") if path.read_bytes()[:6] == b"00000-"}
    pack(tmp_path / "videos-001.tar", members)
    assert call(prepare_tars.main, *options(tmp_path, out), *splits, *accepted, "--retry", *files) == 0
    assert not [f for file in files for f in read_failures(file) if f.sample]
    assert {k: v for k, v in whole.items() if "/00001-" in k} == {k: v for k, v in shown(out).items() if "/00001-" in k}
    (tmp_path / "videos-002.tar").write_bytes((videos / "videos-002.tar").read_bytes())
    assert call(prepare_tars.main, *options(tmp_path, out), *splits, "--retry", *files) == 0
    assert shown(out) == whole
    assert not [file for file in files if file.exists()]
    assert kept
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    before = digests(out)
    assert call(prepare_tars.main, *options(tmp_path, out), *splits) == 0
    assert digests(out) == before


def test_a_tar_that_is_cut_between_members(videos: Path, tmp_path: Path) -> None:
    data = (videos / "videos-001.tar").read_bytes()
    with tarfile.open(videos / "videos-001.tar") as tar:
        end = tar.getmembers()[5].offset
    (tmp_path / "cut.tar").write_bytes(data[:end])
    for url in (f"{tmp_path}/cut.tar", f"pipe:cat {tmp_path}/cut.tar"):
        with pytest.raises(BrokenTar, match=r"^cut cannot be read to its end: it ends without two empty blocks"):
            list(read_samples(url))


def test_images_and_sound(tmp_path: Path, capsys: Capsys) -> None:
    images, sounds = dict[str, bytes](), dict[str, bytes]()
    for number in range(4):
        folder = write_images(tmp_path / f"frames-{number}", moving_square(6, 16, 16, seed=number))
        images |= {f"take-{number}.{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}
        path = write_sound(tmp_path / f"{number}.flac", 0.5, seed=number)
        sounds |= {f"{number}.flac": path.read_bytes()}
    pack(tmp_path / "images.tar", images)
    pack(tmp_path / "sounds.tar", sounds)
    common = ["--workers", 1, "--splits", 1, 0, 0, "--json"]
    shape = ["--images", "png", "--frames", 3, "--size", 16]
    assert call(prepare_tars.main, "--tars", tmp_path / "images.tar", *shape, "--out", tmp_path / "i", *common) == 0
    assert last_json(capsys.readouterr().out)["train"]["records"] == 8
    x = RecordSet(tmp_path / "i" / "train").batch([0]).x[0].permute(0, 2, 3, 1).numpy()
    assert np.array_equal(x, moving_square(6, 16, 16, seed=0)[:3])
    sound = ["--audio", "flac", "--segment-frames", 10]
    assert call(prepare_tars.main, "--tars", tmp_path / "sounds.tar", *sound, "--out", tmp_path / "s", *common) == 0
    assert last_json(capsys.readouterr().out)["train"]["records"] == 4 * 5


def test_names_hold_no_secret() -> None:
    assert tar_name("pipe:aws s3 cp s3://key:secret@b/x/videos-1.tar.gz -") == "videos-1"
    assert tar_name("/data/a.b.tar") == "a.b"
    assert tar_name("pipe:secret") == "tar"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--splits", 0.5, 0.5, 0.5], "must add up to 1"),
        (["--frames", 50], "no sample for training has 50 frames, of 18 read"),
        (["--name", "A b"], "choose another --name"),
        (["--factors", "A b"], "factor 'A b': names consist of"),
        (["--tars", "x.tar", "x.tar"], "x is given twice"),
    ],
)
def test_bad_input(videos: Path, tmp_path: Path, failure: Failure, change: list[Any], message: str) -> None:
    assert message in failure(prepare_tars.main, *options(videos, tmp_path / "out"), *change, alone=False)
    assert not (tmp_path / "out").exists()
