"""Atomic writing: the new file whole, or the old one."""

import os
from pathlib import Path

import pytest

from seqviews.pipeline.files import cache_folder, is_temporary, open_atomically, provide_caches, write_atomically


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


def test_a_full_disk_is_an_error_with_the_path(small_disk: Path) -> None:
    with pytest.raises(OSError, match=rf"No space left on device: '{small_disk}/a.tar'"):
        write_atomically(small_disk / "a.tar", bytes(3 << 20))
    assert not list(small_disk.iterdir())


def test_caches_without_a_home_are_among_the_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.F_OK and access(path, mode))  # root may do all
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(Path, "home", lambda: Path(os.environ["HOME"]))
    for name in ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "")  # so that it is there again after this test
        monkeypatch.delenv(name)
    for home in ("/", "/nonexistent", str(tmp_path / "home")):
        monkeypatch.setenv("HOME", home)
        assert cache_folder("shards") == tmp_path / f"seqviews-shards-{os.geteuid()}"
    provide_caches()
    for name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
        assert Path(os.environ[name]).parent == tmp_path
        assert Path(os.environ[name]).stat().st_mode & 0o777 == 0o700
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("shards") == tmp_path / "xdg" / "seqviews" / "shards"
