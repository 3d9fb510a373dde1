"""Behaviour that the preparation tools share: exit codes, one-sentence failures, targets left alone."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from timit_trees import samples_of, sphere, write_tree
from tool_calls import TOOLS, Capsys, Failure, call
from toy_files import write_csv

from seqviews.tools import prepare_folder, prepare_smmnist, prepare_sprites, prepare_timit

Main: TypeAlias = Callable[[list[str]], None]
SMMNIST = ["--digits", "sklearn", "--clips", "4", "2", "0"]


@pytest.mark.parametrize(
    ("main", "options"),
    [
        *((prepare_sprites.main, options) for options in ([], ["--sheets", "x"])),
        (prepare_sprites.main, ["--sheets", "x", "--out", "ftp://b/c"]),
        (prepare_sprites.main, ["--sheets", "x", "--out", "y", "--codec", "gif"]),
        (prepare_smmnist.main, ["--out", "y", "--digits", "sklearn", "--clips", "1", "1"]),
        (prepare_smmnist.main, ["--out", "y", "--digits", "sklearn"]),
        (prepare_smmnist.main, ["--out", "y", "--clips", "4", "2", "0"]),
        (prepare_smmnist.main, ["--out", "y", *SMMNIST, "--digits-per-clip", "3"]),
        (prepare_smmnist.main, ["--out", "y", *SMMNIST, "--size", "big"]),
        (prepare_smmnist.main, [*SMMNIST, "--out", "ftp://bucket/digits"]),
        *((prepare_timit.main, options) for options in ([], ["--timit", "x"], ["--timit", "x", "--out", "ftp://b/c"])),
        *((prepare_folder.main, options) for options in ([], ["--csv", "x.csv"], ["--out", "y"])),
        (prepare_folder.main, ["--csv", "x.csv", "--out", "y", "--modality", "smell"]),
        (prepare_folder.main, ["--csv", "x.csv", "--out", "y", "--workers", "0"]),
        (prepare_smmnist.main, [*SMMNIST, "--out", "y", "--workers", "0"]),
        (prepare_sprites.main, ["--sheets", "x", "--out", "y", "--workers", "-1"]),
        (prepare_timit.main, ["--timit", "x", "--out", "y", "--workers", "0"]),
    ],
)
def test_invalid_arguments_exit_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys, main: Main, options: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(main, *options) == 2
    assert "usage:" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("main", "options", "message"),
    [
        (prepare_timit.main, ["--timit", "{tmp}/x"], "has no sentences of speakers in TRAIN"),
        (
            prepare_timit.main,
            ["--timit", "{tmp}/x", "--segment-frames", 0],
            "0 frames, every 0: both must be at least 1",
        ),
        (prepare_folder.main, ["--csv", "{tmp}/nowhere.csv"], "nowhere.csv"),
        (
            prepare_smmnist.main,
            ["--digits", "{tmp}/none", "--clips", 4, 2, 0],
            "{tmp}/none is not a folder: give one with",
        ),
        (prepare_smmnist.main, ["--digits", "{tmp}/x", "--clips", 4, 2, 0], "{tmp}/x has no IDX files"),
        (prepare_smmnist.main, ["--digits", "sklearn", "--clips", -1, 2, 2], "[-1, 2, 2]"),
        (prepare_smmnist.main, ["--digits", "sklearn", "--clips", 0, 0, 0], "not all 0"),
        (prepare_smmnist.main, [*SMMNIST, "--size", 8], "frames of 8 pixels"),
        (prepare_smmnist.main, [*SMMNIST, "--frames", 0], "clips of 0 frames"),
        (
            prepare_smmnist.main,
            [*SMMNIST, "--codec", "png", "--quality", 90],
            "png of quality 90: only jpeg and webp have",
        ),
    ],
)
def test_a_failure_is_one_sentence_and_writes_nothing(
    tmp_path: Path, failure: Failure, main: Main, options: list[object], message: str
) -> None:
    (tmp_path / "x").mkdir()
    line = failure(main, "--out", tmp_path / "out", *(str(o).format(tmp=tmp_path) for o in options))
    assert message.format(tmp=tmp_path) in line
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_contents_is_left_alone(tmp_path: Path, failure: Failure) -> None:
    (tmp_path / "mine").write_text("do not touch")
    line = failure(prepare_smmnist.main, *SMMNIST, "--out", tmp_path)
    assert f"{tmp_path} already holds something" in line
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("tool", ["sprites", "folder", "timit"])
def test_the_file_is_a_program_and_reports_a_failure_without_a_traceback(tmp_path: Path, tool: str) -> None:
    (tmp_path / "1.mp4").write_bytes(b"no video")
    csv = write_csv(tmp_path / "x.csv", ["path", "split"], ["1.mp4", "train"])
    path = write_tree(tmp_path / "timit") / "TRAIN/DR1/FCJF0/SX8.WAV"
    path.write_bytes(sphere(samples_of("x"), sample_coding="-s26 pcm,embedded-shorten-v2.00"))
    shorten = f"{path} is compressed by shorten: decompress it first with sph2pipe"
    options, message = {
        "sprites": (["--sheets", f"{tmp_path}/nowhere"], f"no sprite sheet {tmp_path}/nowhere/body/0.png"),
        "folder": (
            ["--csv", str(csv)],
            f"1 of the 1 files in the CSV cannot be used: line 2: {tmp_path}/1.mp4 is not supported",
        ),
        "timit": (["--timit", str(tmp_path / "timit"), "--strict"], shorten),
    }[tool]
    command = [sys.executable, str(TOOLS / f"prepare_{tool}.py"), *options, "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    *progress, line = done.stderr.splitlines()
    assert f"error: {message}" in line
    assert all("files read" in text or "utterances read" in text for text in progress)
    assert not (tmp_path / "out").exists()
