"""Tars: fixed bytes, read by others, and everything that is not one of ours refused by name."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seqviews.pipeline.files import write_atomically
from seqviews.pipeline.manifest import Features, ShardEntry
from seqviews.pipeline.records import Clip, ShardError
from seqviews.pipeline.shards.reader import ShardReader
from seqviews.pipeline.shards.shard import pack_shard
from seqviews.pipeline.storage.local import LocalFolder

FEATURES = Features((3, 8, 8, 3), codec="npy")


def clips(n: int = 3) -> list[Clip]:
    rng = np.random.default_rng(1)
    return [Clip(f"clip-{i}", rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8), {"a": i}, f"s{i}") for i in range(n)]


def write_shard(path: Path, records: list[Clip], features: Features) -> ShardEntry:
    entry, data = pack_shard(path.name, records, features)
    path.write_bytes(data)
    return entry


def test_bytes_are_fixed_and_members_are_plain(tmp_path: Path) -> None:
    first = write_shard(tmp_path / "a.tar", clips(), FEATURES)
    again = write_shard(tmp_path / "b.tar", clips(), FEATURES)
    assert (first.sha256, first.bytes, first.records) == (again.sha256, again.bytes, 3)
    data = (tmp_path / "a.tar").read_bytes()
    assert hashlib.sha256(data).hexdigest() == first.sha256
    assert len(data) == first.bytes
    with tarfile.open(tmp_path / "a.tar") as tar:
        members = tar.getmembers()
    assert [m.name for m in members][:2] == ["clip-0.frames.npy", "clip-0.json"]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode, m.isfile()) for m in members} == {
        (0, 0, 0, "", "", 0o644, True)
    }


@pytest.mark.parametrize("codec", ["webp", "png", "npy"])
@pytest.mark.parametrize("channels", [1, 3])
def test_round_trip_is_exact(tmp_path: Path, codec: str, channels: int) -> None:
    features = Features((3, 8, 8, channels), codec=codec)  # type: ignore[arg-type]
    written = [replace(clip, frames=np.ascontiguousarray(clip.frames[..., :channels])) for clip in clips()]
    entry = write_shard(tmp_path / "a.tar", written, features)
    shard = ShardReader(LocalFolder(tmp_path), features).read(entry)
    out = np.empty(features.shape, np.uint8)
    for i, clip in enumerate(written):
        assert shard.decode(i, out) == clip.key
        np.testing.assert_array_equal(out, clip.frames)
        assert shard.factors(i) == {"a": i}


def test_a_person_can_open_the_frames(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", clips(), replace(FEATURES, codec="webp"))
    with tarfile.open(tmp_path / "a.tar") as tar:
        picture = Image.open(io.BytesIO(tar.extractfile("clip-1.frames.webp").read()))  # type: ignore[union-attr]
        tall = np.asarray(picture)
    np.testing.assert_array_equal(tall, clips()[1].frames.reshape(24, 8, 3))


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="clip-0: frames are"):
        write_shard(tmp_path / "a.tar", clips(), replace(FEATURES, shape=(4, 8, 8, 3)))
    with pytest.raises(ValueError, match="two records have the key clip-0"):
        write_shard(tmp_path / "a.tar", clips() * 2, FEATURES)
    with pytest.raises(OSError, match="No such file"):
        write_atomically(tmp_path / "missing" / "a.tar", b"x")
    assert list(tmp_path.iterdir()) == []


def rewritten(tmp_path: Path, change: Callable[[bytearray], bytes | bytearray], codec: str = "npy") -> ShardEntry:
    """A shard changed by a stranger, with a manifest entry that agrees with the change."""
    features = replace(FEATURES, codec=codec)  # type: ignore[arg-type]
    entry = write_shard(tmp_path / "a.tar", clips(), features)
    data = bytes(change(bytearray((tmp_path / "a.tar").read_bytes())))
    (tmp_path / "a.tar").write_bytes(data)
    return replace(entry, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]], format: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for member, data in members:
            member.size = len(data) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    return info


HOSTILE: dict[str, tuple[bytes, str]] = {
    "path outside": (tar_of([(member("../evil.frames.npy"), b"x"), (member("../evil.json"), b"{}")]), "is not <key>"),
    "absolute path": (tar_of([(member("/etc/passwd.json"), b"{}")]), "is not <key>"),
    "another extension": (tar_of([(member("a.pyd"), b"x"), (member("a.json"), b"{}")]), "is not <key>"),
    "json missing": (tar_of([(member("a.frames.npy"), b"x")]), "no a.json"),
    "members swapped": (tar_of([(member("a.json"), b"{}"), (member("a.frames.npy"), b"x")]), "is not <key>"),
    "symbolic link": (tar_of([(member("a.frames.npy", tarfile.SYMTYPE), b"")]), "not a plain file"),
    "device": (tar_of([(member("a.frames.npy", tarfile.CHRTYPE), b"")]), "not a plain file"),
    "gnu": (tar_of([(member("a.frames.npy"), b"x")], tarfile.GNU_FORMAT), "not POSIX ustar"),
    "pax": (tar_of([(member("ä" * 60 + ".json"), b"x")], tarfile.PAX_FORMAT), "not a plain file"),
    "not a tar": (b"x" * 2048, "not POSIX ustar"),
    "empty": (b"", "two empty blocks"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_ours_is_refused(tmp_path: Path, name: str) -> None:
    data, message = HOSTILE[name]
    (tmp_path / "a.tar").write_bytes(data)
    entry = ShardEntry("a.tar", 1, len(data), hashlib.sha256(data).hexdigest())
    with pytest.raises(ShardError, match=message):
        ShardReader(LocalFolder(tmp_path), FEATURES).read(entry)


def test_cut_at_a_member_boundary_is_refused(tmp_path: Path) -> None:
    entry = rewritten(tmp_path, lambda data: data[: (512 + 1024) + (512 + 512)])
    with pytest.raises(ShardError, match="ends without its two empty blocks"):
        ShardReader(LocalFolder(tmp_path), FEATURES).read(entry)
    entry = rewritten(tmp_path, lambda data: data[: (512 + 1024) + (512 + 512)] + bytes(1024))
    with pytest.raises(ShardError, match="holds 1 records, the manifest says 3"):
        ShardReader(LocalFolder(tmp_path), FEATURES).read(entry)


def test_pickled_and_oversized_arrays_are_refused(tmp_path: Path) -> None:
    def read_with(payload: bytes, codec: str = "npy") -> None:
        data = tar_of([(member(f"a.frames.{codec}"), payload), (member("a.json"), b'{"factors":{}}')])
        (tmp_path / "a.tar").write_bytes(data)
        entry = ShardEntry("a.tar", 1, len(data), hashlib.sha256(data).hexdigest())
        features = replace(FEATURES, codec=codec)  # type: ignore[arg-type]
        ShardReader(LocalFolder(tmp_path), features).read(entry).decode(0, np.empty(features.shape, np.uint8))

    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ShardError, match=r"a\.frames\.npy: .*\|O"):
        read_with(buffer.getvalue())
    with pytest.raises(ShardError, match=r"a\.frames\.npy"):
        read_with(pickle.dumps([1]))
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": (1 << 40,)})
    with pytest.raises(ShardError, match="not uint8"):
        read_with(buffer.getvalue())
    for codec in ("png", "webp"):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 4000)).save(buffer, codec, lossless=True)
        with pytest.raises(ShardError, match=f"a.frames.{codec}"):
            read_with(buffer.getvalue(), codec)
        with pytest.raises(ShardError, match=f"a.frames.{codec}"):
            read_with(b"", codec)


@pytest.mark.parametrize("text", [b"{", b"[]", b"[" * 100_000, b"{}", b'{"factors":3}', b"{" + b" " * (1 << 20) + b"}"])
def test_bad_json_is_refused(tmp_path: Path, text: bytes) -> None:
    data = tar_of([(member("a.frames.npy"), b"x"), (member("a.json"), text)])
    (tmp_path / "a.tar").write_bytes(data)
    shard = ShardReader(LocalFolder(tmp_path), FEATURES).read(
        ShardEntry("a.tar", 1, len(data), hashlib.sha256(data).hexdigest())
    )
    with pytest.raises(ShardError, match=r"a\.json"):
        shard.factors(0)
