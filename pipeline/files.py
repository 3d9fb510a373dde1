"""Atomic writing: a file is there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file for writing, flush it to disk and rename it to `path` when the block ends.

    If the block raises, `path` stays as it was. The folder must exist.

    Example:
        >>> import numpy as np
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "weights.npz"
        >>> with open_atomically(path) as file:
        ...     np.savez(file, weights=np.zeros(3))
        >>> [p.name for p in path.parent.iterdir()]
        ['weights.npz']
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to a file as `open_atomically` does."""
    with open_atomically(path) as file:
        file.write(data)


def is_temporary(path: Path) -> bool:
    """Whether a file has the name that `open_atomically` gives to an unfinished one."""
    return path.name.startswith(".") and path.suffix[1:].isdigit()
