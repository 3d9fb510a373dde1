"""Mutations of a shard: each is a function of a generator and the original, and returns a tar."""

import io
import struct
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from hostile_payloads import Payload, hostile_frames, hostile_jsons

T = TypeVar("T")
Member: TypeAlias = tuple[str, bytes]
BLOCK = 512
FIELDS = {"mode": (100, 108), "uid": (108, 116), "gid": (116, 124), "size": (124, 136), "mtime": (136, 148)}
FIELDS |= {"type": (156, 157), "link": (157, 257), "magic": (257, 263), "version": (263, 265), "owner": (265, 297)}
FIELDS |= {"major": (329, 337), "minor": (337, 345), "prefix": (345, 500), "padding": (500, 512), "name": (0, 100)}
KINDS = [b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"S", b"x", b"g", b"L", b"K", b"D", b"V", b"M", b"Z", b"\0", b"\xff"]
NUMBERS = [b"77777777777", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"\x80" + bytes(10) + b"\x40", b"-1", b"+1000"]
NUMBERS += [b"1_000", b"", b" 1000", b"0o1000", b"1000 \0garbage", b"9", b"0", b"1e3", "١٢".encode()]


@dataclass(frozen=True)
class Original:
    """A good shard: its bytes, the codec and shape of its frames, and a folder that must stay unchanged."""

    data: bytes
    codec: str
    shape: tuple[int, int, int, int]
    root: Path

    @property
    def members(self) -> list[Member]:
        with tarfile.open(fileobj=io.BytesIO(self.data)) as tar:
            return [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]


Mutation: TypeAlias = Callable[[np.random.Generator, Original], bytes]


def pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    return choices[int(rng.integers(len(choices)))]


def tar_of(members: Sequence[Member], format: int = tarfile.USTAR_FORMAT, **attributes: object) -> bytes:
    """A tar; `attributes` are set on the TarInfo of the first member."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for i, (name, data) in enumerate(members):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for attribute, value in attributes.items() if i == 0 else ():
                setattr(info, attribute, value)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def header_offsets(data: bytes) -> list[int]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [member.offset for member in tar]


def with_field(data: bytes, offset: int, field: str, value: bytes) -> bytes:
    """The tar with a field of the header at `offset` replaced and its checksum corrected."""
    start, end = FIELDS[field]
    changed = bytearray(data)
    changed[offset + start : offset + end] = value[: end - start].ljust(end - start, b"\0")
    return with_checksum(changed, offset)


def with_checksum(data: bytearray, offset: int) -> bytes:
    data[offset + 148 : offset + 156] = b" " * 8
    data[offset + 148 : offset + 156] = b"%06o\0 " % sum(data[offset : offset + BLOCK])
    return bytes(data)


def damaged(rng: np.random.Generator, data: bytes, counts: Sequence[int]) -> bytes:
    """The data with a few bytes replaced, and sometimes cut."""
    changed = bytearray(data)
    for _ in range(pick(rng, counts)):
        changed[int(rng.integers(len(changed)))] = int(rng.integers(256))
    return bytes(changed[: int(rng.integers(len(changed))) if rng.random() < 0.3 else None])


def cut(rng: np.random.Generator, original: Original) -> bytes:
    end = int(rng.integers(len(original.data)))
    return original.data[: pick(rng, [end, end // BLOCK * BLOCK])]


def cut_and_closed(rng: np.random.Generator, original: Original) -> bytes:
    return cut(rng, original) + bytes(2 * BLOCK)


def blocks_moved(rng: np.random.Generator, original: Original) -> bytes:
    blocks = [original.data[i : i + BLOCK] for i in range(0, len(original.data), BLOCK)]
    i, j = (int(k) for k in rng.integers(len(blocks), size=2))
    blocks = rearranged(rng, blocks, i, j, ["swap", "missing", "twice", "zero"], bytes(BLOCK))
    return b"".join(blocks)


def rearranged(rng: np.random.Generator, items: list[T], i: int, j: int, changes: list[str], other: T) -> list[T]:
    change = pick(rng, changes)
    if change == "swap":
        items[i], items[j] = items[j], items[i]
    elif change == "missing":
        del items[i]
    elif change == "twice":
        items.insert(j, items[i])
    elif change == "zero":
        items[i] = other
    elif change == "shuffle":
        items = [items[int(k)] for k in rng.permutation(len(items))]
    elif change == "added":
        items.insert(j, other)
    elif change == "key twice":
        items += items[:2]
    elif change == "reversed":
        items.reverse()
    return items


def header_byte_altered(rng: np.random.Generator, original: Original) -> bytes:
    offset = pick(rng, header_offsets(original.data))
    changed = bytearray(original.data)
    changed[offset + int(rng.integers(BLOCK))] = int(rng.integers(256))
    return with_checksum(changed, offset)


def number_absurd(rng: np.random.Generator, original: Original) -> bytes:
    field = pick(rng, ["size", "size", "size", "mode", "uid", "gid", "mtime", "major", "minor"])
    return with_field(original.data, pick(rng, header_offsets(original.data)), field, pick(rng, NUMBERS))


def size_shifted(rng: np.random.Generator, original: Original) -> bytes:
    offset = pick(rng, header_offsets(original.data))
    size = int(original.data[offset + 124 : offset + 135], 8) + pick(rng, [-BLOCK, -1, 1, BLOCK, 1 << 20])
    octal, binary = b"%011o" % max(size, 0), b"\x80" + bytes(3) + struct.pack(">Q", max(size, 0))
    return with_field(original.data, offset, "size", pick(rng, [octal, binary]))


def field_scribbled(rng: np.random.Generator, original: Original) -> bytes:
    field = pick(rng, ["magic", "version", "owner", "link", "prefix", "padding"])
    value = pick(rng, [b"../..", b"ustar ", b"ustar", b" \0", b"x", rng.bytes(12)])
    return with_field(original.data, pick(rng, header_offsets(original.data)), field, value)


def retyped(rng: np.random.Generator, original: Original) -> bytes:
    offset = pick(rng, header_offsets(original.data))
    data = with_field(original.data, offset, "type", pick(rng, KINDS))
    return with_field(data, offset, "link", pick(rng, [b"", b"/etc/passwd", b"../../evil"]))


def renamed(rng: np.random.Generator, original: Original) -> bytes:
    """One member, or both members of a record, under a name that is no key."""
    members = original.members
    i = int(rng.integers(len(members) // 2)) * 2
    names = ["../evil", str(original.root / "evil"), "/etc/evil", "a/b", "./a", "a\\b", "", ".", "CON", "A", "a b"]
    names += ["a\n", "ключ", "鍵", "مفتاح", "κλειδί", "clé", "\u202ecba", "🎈", "a\x7f", "%2e%2e", "k" * 81]
    names += ["a.frames", "-", "_"]
    key = pick(rng, names)
    for k in pick(rng, [(i,), (i + 1,), (i, i + 1)]):
        members[k] = (key + members[k][0][members[k][0].index(".") :], members[k][1])
    return tar_of(members)


def extension_changed(rng: np.random.Generator, original: Original) -> bytes:
    members = original.members
    i = int(rng.integers(len(members)))
    extensions = ["pyd", "pickle", "pth", "frames.gif", "FRAMES.WEBP", "json.gz", "", "frames.npy.json", "JSON"]
    members[i] = (members[i][0].split(".")[0] + "." + pick(rng, extensions), members[i][1])
    return tar_of(members)


def other_format(rng: np.random.Generator, original: Original) -> bytes:
    """GNU and PAX archives: long names, and PAX records that overrule the header."""
    members = original.members
    name, data = members[0]
    if rng.random() < 0.4:
        return tar_of([(pick(rng, [name, "k" * 150 + name]), data), *members[1:]], tarfile.GNU_FORMAT)
    headers = [{"path": "../evil.json"}, {"size": "1000000000000"}, {"linkpath": "/etc/passwd"}]
    headers += [{"comment": "x" * 5000}]
    headers += [{"GNU.sparse.size": "1000000000", "GNU.sparse.numblocks": "1", "GNU.sparse.map": "0,1"}]
    headers += [{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "99999999999"}]
    return tar_of([(name, data), *members[1:]], tarfile.PAX_FORMAT, pax_headers=pick(rng, headers))


def members_rearranged(rng: np.random.Generator, original: Original) -> bytes:
    found = original.members
    i, j = (int(k) for k in rng.integers(len(found), size=2))
    changes = ["missing", "twice", "swap", "shuffle", "added", "key twice", "none", "reversed"]
    other = pick(rng, [("readme.txt", b"hello"), ("a.json", b"{}"), ("a.pyd", b"\x80\x04."), ("x", b"")])
    return tar_of(rearranged(rng, found, i, j, changes, other))


def records_permuted(rng: np.random.Generator, original: Original) -> bytes:
    """A good tar again, its records in another order."""
    members = original.members
    order = rng.permutation(len(members) // 2)
    return tar_of([members[2 * int(k) + part] for k in order for part in (0, 1)], mtime=int(rng.integers(1 << 30)))


def payload_damaged(rng: np.random.Generator, original: Original) -> bytes:
    members = original.members
    i = int(rng.integers(len(members)))
    members[i] = (members[i][0], damaged(rng, members[i][1], [1, 1, 4, 40]))
    return tar_of(members)


def frames_replaced(rng: np.random.Generator, original: Original) -> bytes:
    return _replaced(rng, original, 0, hostile_frames(original.codec, original.shape))


def json_replaced(rng: np.random.Generator, original: Original) -> bytes:
    return _replaced(rng, original, 1, hostile_jsons())


def _replaced(rng: np.random.Generator, original: Original, part: int, payloads: list[Payload]) -> bytes:
    members = original.members
    i = int(rng.integers(len(members) // 2)) * 2 + part
    members[i] = (members[i][0], pick(rng, payloads)())
    return tar_of(members)


def end_changed(rng: np.random.Generator, original: Original) -> bytes:
    end = len(original.data.rstrip(b"\0"))
    tails = [b"", bytes(BLOCK), bytes(2 * BLOCK), bytes(1 << 24), bytes(1024) + b"x" * BLOCK, rng.bytes(BLOCK)]
    return original.data[: -(-end // BLOCK) * BLOCK] + pick(rng, tails)


MUTATIONS: list[Mutation] = [cut, cut_and_closed, blocks_moved, header_byte_altered, number_absurd, size_shifted]
MUTATIONS += [field_scribbled, retyped, renamed, extension_changed, other_format, members_rearranged]
MUTATIONS += [records_permuted, payload_damaged, frames_replaced, json_replaced, end_changed]
