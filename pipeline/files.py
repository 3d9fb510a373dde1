"""Files and folders: atomic writing, and where caches are kept."""

import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file for writing, flush it to disk and rename it to `path` when the block ends.

    If the block raises, `path` stays as it was. The folder must exist. Every `OSError` names `path`.

    Example:
        >>> import numpy as np
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "weights.npz"
        >>> with open_atomically(path) as file:
        ...     np.savez(file, weights=np.zeros(3))
        >>> [p.name for p in path.parent.iterdir()]
        ['weights.npz']
    """
    temporary = path.with_name(f".{path.name}.{secrets.randbits(60)}")  # processes of two machines may have one number
    try:
        with naming(path):
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


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Add a path to an `OSError` that names no file, as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Create a folder and those above it, unless it exists.

    Raises:
        OSError: If it cannot be created; the message names a file or a dangling link in its place.
    """
    try:
        path.mkdir(mode, parents=True, exist_ok=True)
    except FileExistsError as error:
        found = Path(error.filename)
        kind = "a link to nothing" if found.is_symlink() else "a file, not a folder"
        raise NotADirectoryError(f"{found} is {kind}: remove it, or choose another folder") from None


def make_cache(folder: Path, *, written: bool = True) -> None:
    """Create the folder of a cache, which only this user may open, unless it exists.

    Args:
        folder: The folder.
        written: Whether it must be possible to write to it.

    Raises:
        OSError: If it cannot be written to, or if it is another user's and others may write to it.
    """
    make_folder(folder, 0o700)
    found = folder.stat()
    writers = stat.S_IWOTH | (stat.S_IWGRP if found.st_uid else 0)
    if found.st_uid != user_number() and found.st_mode & writers:
        raise PermissionError(f"{folder} is another user's and others may write to it: choose a folder of your own")
    if written:
        tempfile.TemporaryFile(dir=folder).close()


def cache_folder(name: str) -> Path:
    """Return where a cache is kept by default.

    It is `seqviews/NAME` below `XDG_CACHE_HOME` or `~/.cache`; if that cannot be written to, a folder among the
    temporary files.
    """
    base = os.environ.get("XDG_CACHE_HOME") or user_home() / ".cache"
    folder = Path(base) / "seqviews" / name
    return folder if _is_writable(folder) else _temporary(name)


def user_home() -> Path:
    """Return the user's home; without `HOME` and without an entry in the passwd file, one among the temporary files."""
    try:
        return Path.home()
    except RuntimeError:
        return _temporary("home")


def _temporary(name: str) -> Path:
    return Path(tempfile.gettempdir()) / f"seqviews-{name}-{user_number()}"


def user_number() -> int:
    """Return the number of the user that this process runs as; 0 where users have none, on Windows."""
    return getattr(os, "geteuid", lambda: 0)()


def _is_writable(folder: Path) -> bool:
    """Whether a folder, or else the nearest one above it, can be written to."""
    nearest = next((path for path in (folder, *folder.parents) if os.access(path, os.F_OK)), Path())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def provide_caches() -> None:
    """Set the variables without which other packages fail where there is no home, or none that can be written to.

    librosa needs a home, numba (which it imports) a cache, and matplotlib says that it has none.
    """
    wanted = {} if "HOME" in os.environ else {"HOME": user_home()}
    if cache_folder("numba") == _temporary("numba"):
        wanted |= {"NUMBA_CACHE_DIR": _temporary("numba"), "MPLCONFIGDIR": _temporary("matplotlib")}
    for variable, folder in wanted.items():
        if variable not in os.environ and folder.parent == _temporary("").parent:
            try:
                make_cache(folder)
            except OSError:  # another user made it
                folder = Path(tempfile.mkdtemp())
            os.environ[variable] = str(folder)
