"""Call a tool's `main` as the command line does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
Capsys: TypeAlias = pytest.CaptureFixture[str]
Failure: TypeAlias = Callable[..., str]


def call(main: Callable[[list[str]], None], *options: object) -> int:
    """Run `main` with options and return its exit code."""
    with pytest.raises(SystemExit) as caught:
        main([str(option) for option in options])
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.fixture
def failure(capsys: Capsys) -> Failure:
    """Call a tool that must fail, and return the last line of stderr: the only one, unless usage or progress is due."""

    def fail(main: Callable[[list[str]], None], *options: object, code: int = 1, alone: bool = True) -> str:
        capsys.readouterr()
        assert call(main, *options) == code
        lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
        assert "error: " in lines[-1]
        assert "Traceback" not in "".join(lines)
        assert len(lines) == 1 or code == 2 or not alone
        return lines[-1]

    return fail


def last_json(output: str) -> dict[str, Any]:
    """The JSON object in the last line of an output."""
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found
