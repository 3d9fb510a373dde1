"""The members of a POSIX ustar archive of plain files; anything else that a tar may hold is rejected."""

import functools
import re
from collections.abc import Iterator
from mmap import mmap
from typing import TypeAlias

import numpy as np

Member: TypeAlias = tuple[str, int, int]
"""Name, and the first byte and end of the contents in the archive."""

BLOCK = 512
_EMPTY = bytes(BLOCK)
_OCTAL = re.compile(rb" *([0-7]*)[\0 ]*")  # readers disagree on other number formats


def tar_members(data: bytes | mmap) -> Iterator[Member]:
    """Yield the members of an archive. Every byte of the headers is checked; a mistake raises `ValueError`."""
    offset = 0
    while True:
        header = data[offset : offset + BLOCK]
        if len(header) < BLOCK:
            raise ValueError("the archive ends without its two empty blocks")
        if header == _EMPTY:
            break
        name, size = _parse_header(header, offset)
        start = offset + BLOCK
        end = start + size
        if end > len(data):
            raise ValueError(f"member {name!r} is cut off")
        yield name, start, end
        offset = start + -(-size // BLOCK) * BLOCK
    if len(data) - offset < 2 * BLOCK or np.frombuffer(data, np.uint8, offset=offset).any():
        raise ValueError("the archive does not end in empty blocks")


def _parse_header(header: bytes, offset: int) -> tuple[str, int]:
    name = header[:100].rstrip(b"\0")
    size, checksum = _OCTAL.fullmatch(header, 124, 136), _OCTAL.fullmatch(header, 148, 156)
    try:
        rest = _check_rest(header[100:124], header[136:148], header[156:])
        total = sum(name + header[124:136]) + 8 * ord(" ") + rest  # the checksum itself counts as spaces
        if size is None or checksum is None or int(checksum[1] or b"0", 8) != total:
            raise ValueError("is damaged")
    except ValueError as error:
        member = name.decode("ascii", "replace")
        raise ValueError(f"the header at byte {offset}, of member {member!r}, {error}") from None
    return name.decode("ascii", "replace"), int(size[1] or b"0", 8)


@functools.lru_cache(maxsize=64)
def _check_rest(mode_and_owner: bytes, time: bytes, rest: bytes) -> int:
    """Check the header but for name, size and checksum, and sum its bytes; most members of a tar share all of them."""
    if rest[101:109] != b"ustar\x0000":
        raise ValueError("is not POSIX ustar")
    numbers = mode_and_owner + rest[173:189]
    if not all(map(_OCTAL.fullmatch, [time, *(numbers[i : i + 8] for i in range(0, len(numbers), 8))])):
        raise ValueError("is damaged")
    if rest[0] not in b"0\0" or any(rest[1:101]) or any(rest[189:344]):
        raise ValueError("is not a plain file with a short name")
    return sum(mode_and_owner) + sum(time) + sum(rest)
