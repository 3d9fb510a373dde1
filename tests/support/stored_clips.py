"""The clips of shards as tarfile, Pillow and json read them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def independent_records(split: Path) -> dict[str, tuple[np.ndarray[Any, Any], dict[str, Any]]]:
    """Every record of a split of 16 x 16 clips by key, in the order in which they are stored: frames and JSON."""
    records = {}
    for path in sorted(split.glob("*.tar")):
        with tarfile.open(path) as tar:
            contents = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        for name in [n for n in contents if n.endswith(".json")]:
            key = name.removesuffix(".json")
            tall = np.asarray(Image.open(io.BytesIO(contents[f"{key}.frames.webp"])))
            records[key] = (tall.reshape(-1, 16, 16, 3), json.loads(contents[name]))
    return records
