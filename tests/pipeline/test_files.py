"""Atomic writing: the new file whole, or the old one."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqviews.pipeline.files import is_temporary, open_atomically, write_atomically


def write_and_fail(path: Path) -> None:
    with open_atomically(path) as file:
        file.write(b"new")
        assert [is_temporary(p) for p in sorted(path.parent.iterdir())] == [True, False]
        raise InterruptedError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_atomically(path, b"old")
    with pytest.raises(InterruptedError):
        write_and_fail(path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.tar", b"old")]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    with pytest.raises(OSError, match="No such file"):
        write_atomically(tmp_path / "missing" / "a.tar", b"x")
