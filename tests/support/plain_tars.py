"""Read prepared clips with tarfile and json, without the package."""

from __future__ import annotations

import collections
import json
import tarfile
from pathlib import Path
from typing import Any


def read_tars(folder: Path) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """Frames and JSON by key."""
    members: dict[str, dict[str, bytes]] = collections.defaultdict(dict)
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, extension = member.name.partition(".")
                file = tar.extractfile(member)
                assert file is not None
                assert extension not in members[key]
                members[key][extension] = file.read()
    return {key: (parts["frames.webp"], json.loads(parts["json"])) for key, parts in members.items()}
