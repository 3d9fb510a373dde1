"""make finds a Python from 3.11 on, and says which."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def make(folder: Path, *arguments: str, **versions: str) -> subprocess.CompletedProcess[str]:
    """Run `make install` without carrying it out, with only these Pythons on the path."""
    for name, version in versions.items():
        too_old = int(version.split(".")[1]) < 11
        (folder / name.replace("_", ".")).write_text(
            f"#!/bin/sh\n[ $1 = --version ] && echo {version}\nexit {int(too_old)}\n"
        )
        (folder / name.replace("_", ".")).chmod(0o755)
    command = [str(shutil.which("make")), "-n", "-W", "pyproject.toml", "install", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={"PATH": str(folder)})


@pytest.mark.parametrize(
    ("versions", "found"),
    [
        ({"python3_11": "3.11.2", "python3": "3.14.0"}, "python3.11"),
        ({"python3_12": "3.12.1", "python3": "3.9.1"}, "python3.12"),
        ({"python3_13": "3.13.0"}, "python3.13"),
        ({"python3_11": "3.10.0", "python3_14": "3.14.2"}, "python3.14"),
        ({"python3": "3.15.0"}, "python3"),
        ({"python3": "3.10.9", "python": "3.12.0"}, "python"),
    ],
)
def test_any_python_from_3_11_on_is_found(tmp_path: Path, versions: dict[str, str], found: str) -> None:
    assert f"{found} -m venv .venv" in make(tmp_path, **versions).stdout.splitlines()


def test_one_that_is_named_is_taken_and_none_is_an_error(tmp_path: Path) -> None:
    assert "mine -m venv .venv" in make(tmp_path, "PYTHON=mine", python3_11="3.11.0").stdout.splitlines()
    assert 'test -n "" || { echo "no Python from 3.11 on was found' in make(tmp_path / "empty").stdout
