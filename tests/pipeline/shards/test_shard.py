"""Shards: deterministic bytes, exact round trips, and errors that name what a foreign tar holds instead."""

import hashlib
import io
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stored_records import entry_of, read_shard
from tar_mutations import tar_of

from seqviews.pipeline.features import Codec, Features
from seqviews.pipeline.records import Clip, ShardError
from seqviews.pipeline.shards.reader import ShardReader
from seqviews.pipeline.shards.shard import pack_shard
from seqviews.pipeline.storage.local import LocalFolder

FEATURES = Features((3, 8, 8, 3), codec="npy")


def clips(n: int = 3) -> list[Clip]:
    rng = np.random.default_rng(1)
    return [Clip(f"clip-{i}", rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8), {"a": i}, f"s{i}") for i in range(n)]


def test_bytes_are_deterministic_and_members_plain() -> None:
    entry, data = pack_shard("a.tar", clips(), FEATURES)
    assert pack_shard("a.tar", clips(), FEATURES) == (entry, data)
    assert (entry.sha256, entry.bytes, entry.records) == (hashlib.sha256(data).hexdigest(), len(data), 3)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = tar.getmembers()
    assert [m.name for m in found][:2] == ["clip-0.frames.npy", "clip-0.json"]
    attributes = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode, m.isfile()) for m in found}
    assert attributes == {(0, 0, 0, "", "", 0o644, True)}


@pytest.mark.parametrize("codec", ["webp", "png", "npy"])
@pytest.mark.parametrize("channels", [1, 3])
def test_round_trip_is_exact(tmp_path: Path, codec: Codec, channels: int) -> None:
    features = Features((3, 8, 8, channels), codec=codec)
    written = [replace(clip, frames=np.ascontiguousarray(clip.frames[..., :channels])) for clip in clips()]
    _, data = pack_shard("a.tar", written, features)
    shard = read_shard(tmp_path, data, features, records=3)
    out = np.empty(features.shape, np.uint8)
    for i, clip in enumerate(written):
        assert shard.decode(i, out) == clip.key
        np.testing.assert_array_equal(out, clip.frames)
        assert (shard.factors(i), shard.source(i)) == ({"a": i}, clip.source)


def test_records_that_cannot_be_packed() -> None:
    with pytest.raises(ValueError, match="clip-0: frames are"):
        pack_shard("a.tar", clips(), replace(FEATURES, shape=(4, 8, 8, 3)))
    with pytest.raises(ValueError, match="two records have the key clip-0"):
        pack_shard("a.tar", clips() * 2, FEATURES)


NPY = ("a.frames.npy", b"x")
HOSTILE = {
    "path outside": (tar_of([("../evil.frames.npy", b"x"), ("../evil.json", b"{}")]), "is not <key>"),
    "absolute path": (tar_of([("/etc/passwd.json", b"{}")]), "is not <key>"),
    "another extension": (tar_of([("a.pyd", b"x"), ("a.json", b"{}")]), "is not <key>"),
    "json missing": (tar_of([NPY]), "no a.json"),
    "members swapped": (tar_of([("a.json", b"{}"), NPY]), "is not <key>"),
    "symbolic link": (tar_of([("a.frames.npy", b"")], type=tarfile.SYMTYPE), "not a plain file"),
    "device": (tar_of([("a.frames.npy", b"")], type=tarfile.CHRTYPE), "not a plain file"),
    "gnu": (tar_of([NPY], tarfile.GNU_FORMAT), "not POSIX ustar"),
    "pax": (tar_of([("ä" * 60 + ".json", b"x")], tarfile.PAX_FORMAT), "not a plain file"),
    "not a tar": (b"x" * 2048, "not POSIX ustar"),
    "empty": (b"", "two empty blocks"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_foreign_tars(tmp_path: Path, name: str) -> None:
    data, message = HOSTILE[name]
    with pytest.raises(ShardError, match=message):
        read_shard(tmp_path, data, FEATURES)


def test_cut_at_a_member_boundary(tmp_path: Path) -> None:
    _, data = pack_shard("a.tar", clips(), FEATURES)
    cut = data[: (512 + 1024) + (512 + 512)]
    with pytest.raises(ShardError, match="ends without its two empty blocks"):
        read_shard(tmp_path, cut, FEATURES, records=3)
    with pytest.raises(ShardError, match="holds 1 records, the manifest says 3"):
        read_shard(tmp_path, cut + bytes(1024), FEATURES, records=3)


def test_pickled_and_oversized_arrays(tmp_path: Path) -> None:
    def read_with(payload: bytes, codec: Codec = "npy") -> None:
        data = tar_of([(f"a.frames.{codec}", payload), ("a.json", b'{"factors":{}}')])
        read_shard(tmp_path, data, replace(FEATURES, codec=codec)).decode(0, np.empty(FEATURES.shape, np.uint8))

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
    codecs: list[Codec] = ["png", "webp"]
    for codec in codecs:
        buffer = io.BytesIO()
        Image.new("RGB", (8, 4000)).save(buffer, codec, lossless=True)
        for payload in (buffer.getvalue(), b""):
            with pytest.raises(ShardError, match=f"a.frames.{codec}"):
                read_with(payload, codec)


@pytest.mark.parametrize("text", [b"{", b"[]", b"[" * 100_000, b"{}", b'{"factors":3}', b"{" + b" " * (1 << 20) + b"}"])
def test_bad_json(tmp_path: Path, text: bytes) -> None:
    shard = read_shard(tmp_path, tar_of([NPY, ("a.json", text)]), FEATURES)
    for read in (shard.factors, shard.source):
        with pytest.raises(ShardError, match=r"a\.json"):
            read(0)


def test_damage_between_two_reads_and_another_record_count(tmp_path: Path) -> None:
    _, data = pack_shard("a.tar", clips(), FEATURES)
    (tmp_path / "a.tar").write_bytes(data)
    entry, reader = entry_of(tmp_path / "a.tar", 3), ShardReader(LocalFolder(tmp_path), FEATURES)
    reader.read(entry)
    with pytest.raises(ShardError, match="the manifest says 99"):
        reader.read(replace(entry, records=99))
    (tmp_path / "a.tar").write_bytes(data[:700] + bytes([data[700] ^ 1]) + data[701:])
    with pytest.raises(ShardError, match="SHA-256 is not the manifest's"):
        reader.read(entry)
