from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from seqviews.tools.prepare_smmnist import main

TOOL = Path(__file__).resolve().parents[2] / "tools" / "prepare_smmnist.py"
CLIPS = ["--clips", "4", "2", "0"]


def test_writes_the_splits_and_a_summary(tmp_path: Path) -> None:
    out = tmp_path / "digits"
    options = [
        "--digits",
        "sklearn",
        "--out",
        str(out),
        *CLIPS,
        "--frames",
        "3",
        "--size",
        "16",
        "--shard-sources",
        "2",
    ]
    done = subprocess.run(
        [sys.executable, TOOL, *options, "--shard-sources", "2", "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    tars = sorted(out.rglob("*.tar"))
    assert [str(path.relative_to(out)) for path in tars] == [
        "train/train-000000.tar",
        "train/train-000001.tar",
        "val/val-000000.tar",
    ]
    assert {split: (row["records"], row["shards"]) for split, row in summary.items()} == {
        "train": (4, 2),
        "val": (2, 1),
    }
    assert sum(row["bytes"] for row in summary.values()) == sum(path.stat().st_size for path in tars)
    assert "train: 4 of 4" in done.stderr.splitlines()  # plain lines where there is no terminal


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--digits", "nowhere", *CLIPS], "no folder nowhere: --digits is a folder with MNIST's IDX files, or sklearn"),
        (["--digits", "{tmp}", *CLIPS], "{tmp} has no IDX files"),
        (["--digits", "sklearn", "--clips", "-1", "2", "2"], "[-1, 2, 2]"),
        (["--digits", "sklearn", "--clips", "0", "0", "0"], "not all 0"),
        (["--digits", "sklearn", *CLIPS, "--size", "8"], "frames of 8 pixels"),
        (["--digits", "sklearn", *CLIPS, "--frames", "0"], "clips of 0 frames"),
        (["--digits", "sklearn", *CLIPS, "--frames", "300"], "use --codec npy"),
        (["--digits", "sklearn", *CLIPS, "--workers", "0"], "must be at least 1"),
    ],
)
def test_a_failure_is_one_sentence_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as caught:
        main(["--out", str(out), *(option.format(tmp=tmp_path) for option in options)])
    assert caught.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message.format(tmp=tmp_path) in line
    assert not out.exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("do not touch")
    with pytest.raises(SystemExit) as caught:
        main(["--digits", "sklearn", "--out", str(tmp_path), *CLIPS])
    assert caught.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path} already holds something" in line
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "options",
    [
        ["--digits", "sklearn", "--clips", "1", "1"],
        ["--digits", "sklearn"],
        CLIPS,
        ["--digits", "sklearn", *CLIPS, "--digits-per-clip", "3"],
        ["--digits", "sklearn", *CLIPS, "--size", "big"],
        ["--digits", "sklearn", *CLIPS, "--out", "ftp://bucket/digits"],
    ],
)
def test_wrong_arguments_exit_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--out", str(tmp_path / "out"), *options])
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
