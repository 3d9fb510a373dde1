"""The configuration of a training that takes seconds, on the toy clips."""

from pathlib import Path
from typing import Any

import pytest
import yaml

MODEL: dict[str, Any] = {
    "name": "cdsvae",
    "beta": 2.0,
    "width": 0.1,
    "static_dim": 8,
    "dynamic_dim": 4,
    "hidden_dim": 16,
}
TINY: dict[str, Any] = {
    "batch_size": 12,
    "min_frames": 4,
    "max_clips": 360,
    "model": MODEL,
    "motion": {"name": "video_motion"},
    "content": {"name": "temporal_reverse"},
}


def write_config(folder: Path, **changes: Any) -> str:
    """The path of the configuration with changes, in a file of the folder."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, **changes}))
    return str(path)


def run_main(main: Any, *options: object) -> int:
    """The exit code of a tool."""
    with pytest.raises(SystemExit) as stopped:
        main([str(option) for option in options])
    return int(stopped.value.code or 0)
