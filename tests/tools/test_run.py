"""What every tool does the same: hostile names, closed pipes, interrupts, homes that are missing."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from moving_squares import MovingSquares
from tiny_training import write_config
from tool_calls import call
from untrained import save_run

from seqviews.pipeline.prepare.write import prepare
from seqviews.tools import check_shards, evaluate, prepare_folder, show_views
from seqviews.tools.run import printable

HOSTILE = ["$$", "\x1b]0;title\x07", "$\\frac{$", "\u202e\x9b2J[red]\x7f\r"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Squares whose classes have names that a terminal or matplotlib would act on."""
    out = tmp_path_factory.mktemp("hostile") / "squares"
    prepare(MovingSquares((16, 8, 8)), out, shard_sources=8)
    for path in out.glob("*/manifest.json"):
        manifest = json.loads(path.read_text())
        manifest["dataset"]["static"]["shade"] = HOSTILE
        manifest["dataset"]["attribution"] = manifest["dataset"]["licence"] = HOSTILE[1]
        path.write_text(json.dumps(manifest))
    return out


def check_output(capfd: pytest.CaptureFixture[str]) -> str:
    """What was printed; all of it is printable."""
    printed = "".join(capfd.readouterr())
    assert printed.replace("\n", "").isprintable()
    return printed


def test_hostile_names_are_drawn_as_text_and_printed_escaped(
    hostile: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(check_shards.main, hostile, "--sheet", tmp_path / "sheet.png") == 0
    judging = ["--judges", tmp_path / "judges", "--judge-steps", 2]
    assert call(evaluate.main, "--run", save_run(tmp_path / "run"), "--data", hostile, *judging) == 0
    config = write_config(tmp_path, motion=None, content=None)
    options = ["--config", config, "--data", hostile, "--step", 1, "--out", tmp_path / "views.png"]
    assert call(show_views.main, *options) == 0
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    check_output(capfd)
    for debug in ([], ["--debug"]):
        assert call(check_shards.main, hostile, "--identity", HOSTILE[1], *debug) == 1
        assert "has no static factor \\u001b]0;title\\u0007" in check_output(capfd)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_in_an_error_is_escaped(tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / "x.csv").write_text(f'path,split\n"{name}.mp4",train\n', newline="")
    assert call(prepare_folder.main, "--csv", tmp_path / "x.csv", "--out", tmp_path / name) == 1
    check_output(capfd)
    assert call(prepare_folder.main, "--csv", tmp_path / "x.csv", "--out", tmp_path, f"--{name}") == 2
    check_output(capfd)


def test_every_character_is_printable_or_escaped() -> None:
    text = printable("".join(map(chr, range(0x110000))))
    assert text.replace("\n", "").isprintable()
    assert "\\u001b" in text
    assert json.loads(printable(json.dumps("\x7f\x1b é\n"))) == "\x7f\x1b é\n"
    assert printable("s3:/KEY:PASS@bucket and http://u:p@h/x@y") == "s3:/***@bucket and http://***@h/x@y"


HEARING = ["env", "--default-signal=INT"]
"""Starts a command whose Ctrl-C is not ignored, as it is in all that a shell starts in the background."""


def tool(name: str, *options: object) -> list[str]:
    return [sys.executable, "-m", f"seqviews.tools.{name}", *map(str, options)]


def test_a_closed_pipe_and_a_full_disk_at_stdout(hostile: Path) -> None:
    command = tool("check_shards", hostile, "--fast", "--json")
    for target, message in (("| head -c 0", "Broken pipe"), ("> /dev/full", "No space left on device")):
        shell = f"set -o pipefail; {' '.join(command)} {target}"
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
        assert done.returncode == 1
        assert message in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_ctrl_c_while_modules_load(times: int) -> None:
    for number in range(times):
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen([*HEARING, *tool("train", "--help")], **pipes)
        time.sleep(0.3 + 0.7 * number / times)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
        assert process.returncode == 130
        assert errors.splitlines()[-1].endswith(": stopped")
        assert "Traceback" not in errors


@pytest.mark.parametrize("to", ["a link", "a file"])
def test_an_out_that_is_no_folder(hostile: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], to: str) -> None:
    out = tmp_path / "out"
    out.symlink_to("nowhere") if to == "a link" else out.write_text("x")
    options = ["--run", save_run(tmp_path / "run"), "--data", hostile, "--judges", tmp_path / "judges"]
    assert call(evaluate.main, *options, "--judge-steps", 1, "--out", out) == 1
    assert f"{out} is {to}" in capfd.readouterr().err.splitlines()[-1]
    with pytest.raises(OSError, match=rf"{out} (is a link|already holds something)"):
        prepare(MovingSquares((4, 2, 2)), out)


def test_a_file_that_becomes_too_large_is_named(tmp_path: Path) -> None:
    """As on a full disk, the error of the system names no file."""
    command = tool("prepare_smmnist", "--digits", "sklearn", "--clips", 400, 2, 2, "--out", tmp_path / "out")
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 100; {' '.join(command)}"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 1
    assert f"File too large: '{tmp_path}/out/train/train-000000.tar'" in done.stderr.splitlines()[-1]


OTHER: dict[str, Any] = {"user": 12345, "group": 12345, "extra_groups": []}
CACHES = """
import numpy as np
from seqviews.pipeline.sources.audio import log_mel
from seqviews.pipeline.storage.folder import Cache
from seqviews.pipeline.storage.cache import ShardCache
from seqviews.model.evaluate.evaluation import EvaluateConfig
import seqviews.model.report.audio, matplotlib.figure
from seqviews.tools.train import make_parser
make_parser()
log_mel(np.zeros(16000, np.float32))
ShardCache(Cache())
EvaluateConfig().judges.mkdir(parents=True, exist_ok=True)
"""


@pytest.fixture(scope="module")
def interpreter() -> str:
    """A Python of this version that another user may run."""
    if os.geteuid() == 0:
        for path in (sys.executable, f"/usr/bin/python3.{sys.version_info[1]}"):
            with suppress(OSError):
                if not subprocess.run([path, "-c", "import sqlite3"], cwd="/", capture_output=True, **OTHER).returncode:
                    return path
    pytest.skip("only root can become another user, who must have a Python")


@pytest.mark.slow
@pytest.mark.parametrize("home", ["/", "/nonexistent", "/root", None])
def test_another_user_without_a_home(interpreter: str, home: str | None) -> None:
    """Everything that needs a cache is imported and used; nothing is printed about it."""
    environment = {k: v for k, v in os.environ.items() if k not in {"HOME", "XDG_CACHE_HOME"}}
    environment |= {} if home is None else {"HOME": home}
    packages = [path for path in sys.path if "seqviews" in path or path.endswith((".typing", "site-packages", "src"))]
    environment["PYTHONPATH"] = os.pathsep.join(packages)
    command = [interpreter, "-W", "ignore", "-c", CACHES]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", **OTHER)
    assert (done.returncode, done.stderr) == (0, "")
