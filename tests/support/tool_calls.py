"""Call a tool's `main` as the command line does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def call(main: Callable[[list[str]], None], *options: object) -> int:
    """Run `main` with options and return its exit code."""
    with pytest.raises(SystemExit) as caught:
        main([str(option) for option in options])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def last_json(output: str) -> dict[str, Any]:
    """The JSON object in the last line of an output."""
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found
