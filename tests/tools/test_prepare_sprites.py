from __future__ import annotations

import functools
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from seqviews.pipeline.datasets.sprites import Sprites
from seqviews.tools.prepare_sprites import main

TOOL = Path(__file__).resolve().parents[2] / "tools" / "prepare_sprites.py"


@functools.cache
def picture(width: int = 832, height: int = 1344, mode: str = "RGBA") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def sheets(tmp_path: Path) -> Path:
    """Sheets of the right size with nothing on them."""
    folder = tmp_path / "sheets"
    for part in ("body", "bottomwear", "topwear", "hair", "shoes"):
        (folder / part).mkdir(parents=True)
        for variant in range(6):
            (folder / part / f"{variant}.png").write_bytes(picture())
    return folder


def run(*options: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(option) for option in options])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_writes_the_splits_and_a_summary(
    sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    some = {"train": ["character-0000", "character-0007", "character-0010"], "val": ["character-0002"], "test": []}
    monkeypatch.setattr(Sprites, "sources", lambda self, split: some[split])
    out = tmp_path / "out"
    assert run("--sheets", sheets, "--out", out, "--shard-sources", 2, "--workers", 1, "--codec", "png", "--json") == 0
    output = capsys.readouterr()
    summary = json.loads(output.out.splitlines()[-1])
    assert {split: (row["records"], row["shards"]) for split, row in summary.items()} == {
        "train": (27, 2),
        "val": (9, 1),
    }
    assert sum(row["bytes"] for row in summary.values()) == sum(path.stat().st_size for path in out.rglob("*.tar"))
    assert "train: 3 of 3" in output.err.splitlines()


def test_the_file_is_a_program(tmp_path: Path) -> None:
    options = ["--sheets", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, TOOL, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"no sprite sheet {tmp_path}/nowhere/body/0.png" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("bad", "data", "message"),
    [
        ("body/0.png", None, "no sprite sheet"),
        ("topwear/3.png", picture(width=831), "is [1344, 831, 4] uint8, not 1344 x 832 RGBA"),
        ("hair/5.png", picture(mode="RGB"), "is [1344, 832, 3] uint8, not 1344 x 832 RGBA"),
        ("body/5.png", picture(mode="I;16"), "is [1344, 832] uint16, not 1344 x 832 RGBA"),
        ("shoes/1.png", picture()[: len(picture()) // 2], "is damaged"),
        ("bottomwear/0.png", b"", "is damaged"),
    ],
)
def test_a_bad_sheet_is_one_sentence_and_nothing_is_written(
    sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: str, data: bytes | None, message: str
) -> None:
    if data is None:
        (sheets / bad).unlink()
    else:
        (sheets / bad).write_bytes(data)
    out = tmp_path / "out"
    assert run("--sheets", sheets, "--out", out) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert str(sheets / bad) in line
    assert not out.exists()


def test_a_folder_that_holds_something_is_left_alone(
    sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("do not touch")
    assert run("--sheets", sheets, "--out", out) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{out} already holds something" in line
    assert [path.name for path in out.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "options",
    [[], ["--sheets", "x"], ["--sheets", "x", "--out", "ftp://b/c"], ["--sheets", "x", "--out", "y", "--codec", "gif"]],
)
def test_wrong_arguments_exit_with_2(capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    assert run(*options) == 2
    assert "usage:" in capsys.readouterr().err
