"""The configuration of a training that takes seconds, on the toy clips."""

from pathlib import Path
from typing import Any

import yaml

SIZES: dict[str, Any] = {"width": 0.1, "static_dim": 8, "dynamic_dim": 4, "hidden_dim": 16}
MODEL: dict[str, Any] = {"name": "cdsvae", "beta": 2.0, **SIZES}
VIEWS = {"motion": {"name": "video_motion"}, "content": {"name": "temporal_reverse"}}
TINY: dict[str, Any] = {"batch_size": 12, "min_frames": 4, "max_clips": 360, "model": MODEL, **VIEWS}


def write_config(folder: Path, **changes: Any) -> str:
    """The path of the configuration with changes, in a file of the folder."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, **changes}))
    return str(path)
