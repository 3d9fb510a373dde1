import subprocess
import sys
from pathlib import Path

import pytest
from tool_calls import Capsys, call, last_json
from toy_files import moving_square, write_csv, write_images, write_sound, write_streams, write_video

from seqviews.pipeline.manifest import load_manifest
from seqviews.tools.prepare_folder import main

DOCS = Path(__file__).resolve().parents[2] / "docs" / "your-data.md"


def run(*options: object) -> int:
    return call(main, "--workers", 1, *options)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two videos for training and one for testing, 20, 3 and 10 frames."""
    for seed, length in enumerate((20, 3, 10)):
        write_video(tmp_path / f"{seed}.mp4", moving_square(length, 48, 64, seed))
    rows = [["0.mp4", "train", "p"], ["1.mp4", "train", "q"], ["2.mp4", "test", "r"]]
    return write_csv(tmp_path / "my_videos.csv", ["path", "split", "person"], *rows)


def test_reports_what_was_written_and_left_out(videos: Path, tmp_path: Path, capsys: Capsys) -> None:
    out = tmp_path / "out"
    clips = ["--frames", 4, "--stride", 2, "--frame-step", 2, "--size", 32, "--grey", "--codec", "png"]
    assert run("--csv", videos, "--out", out, "--identity", "person", "--licence", "mine", *clips, "--json") == 0
    output = capsys.readouterr()
    summary = last_json(output.out)
    counts = [summary["train"][name] for name in ("records", "left_out_files", "left_out_frames")]
    assert counts == [4, 1, 0]
    assert (summary["test"]["records"], summary["test"]["left_out_frames"]) == (1, 1)
    assert "files read: 3 of 3" in output.err.splitlines()
    dataset = load_manifest(out / "train").dataset
    assert (dataset.name, dataset.licence, dataset.features.shape) == ("my_videos", "mine", (4, 32, 32, 1))
    assert (dataset.features.rate, dataset.features.codec) == (12.5, "png")


@pytest.mark.parametrize(
    ("file", "options", "facts"),
    [
        ("walk", ["--name", "walks"], (1, "walks", (8, 64, 64, 3))),
        ("a.flac", ["--segment-frames", 25], (4, "x", (25, 80))),
    ],
)
def test_folders_of_frames_and_sounds(
    tmp_path: Path, file: str, options: list[object], facts: tuple[object, ...]
) -> None:
    write_images(tmp_path / "walk", moving_square(9, 40, 40), "jpg")
    write_sound(tmp_path / "a.flac", 1.0, rate=8000)
    csv = write_csv(tmp_path / "x.csv", ["path", "split", "speaker"], [file, "train", "p"])
    assert run("--csv", csv, "--out", tmp_path / "out", *options) == 0
    manifest = load_manifest(tmp_path / "out" / "train")
    assert (len(manifest), manifest.dataset.name, manifest.dataset.features.shape) == facts


def test_the_summary_says_which_stream_is_used_and_which_sound_is_left_out(tmp_path: Path, capsys: Capsys) -> None:
    write_streams(
        tmp_path / "a.mkv", ("libx264", moving_square(9, 48, 64), 1), ("libx264", moving_square(3, 32, 32), 0)
    )
    path = write_sound(tmp_path / "b.wav", 2.0)
    path.write_bytes(path.read_bytes()[:40] + (16_000).to_bytes(4, "little") + path.read_bytes()[44:])
    for name, remark in [
        ("a.mkv", "has 2 video streams, of which stream 0 is used"),
        ("b.wav", "1.50 s of sound after the end that its header states are left out"),
    ]:
        csv = write_csv(tmp_path / f"{name}.csv", ["path", "split"], [name, "train"])
        assert run("--csv", csv, "--out", tmp_path / name[0], "--name", "x", "--json") == 0
        assert last_json(capsys.readouterr().out)["train"]["remarks"] == [f"line 2, {name}: {remark}"]


@pytest.mark.slow
def test_from_videos_to_training_as_the_docs_describe(tmp_path: Path) -> None:
    block = DOCS.read_text().split("\n\n")
    table = next(part for part in block if part.lstrip().startswith("path,split"))
    lines = [line.partition("<-")[0].strip() for line in table.splitlines()]
    (tmp_path / "videos.csv").write_text("\n".join(lines) + "\n")
    for seed, line in enumerate(lines[1:]):
        path = tmp_path / line.partition(",")[0]
        path.parent.mkdir()
        write_video(path, moving_square(40, 72, 96, seed))
    prepare, train = (line.split() for line in DOCS.read_text().splitlines() if line.startswith("    seqviews "))
    for command in (prepare, [*train, "--max-clips", "8", "--batch-size", "4"]):
        program = Path(sys.executable).with_name(command[0])
        subprocess.run([program, *command[1:]], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "runs" / "mine" / "checkpoints").is_dir()
