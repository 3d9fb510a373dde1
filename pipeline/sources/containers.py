"""The structure of media files, as far as decoders do not check it."""

import os
import re
import struct
from pathlib import Path
from typing import BinaryIO

VIDEO_START = re.compile(
    rb".{4}(?:ftyp|moov|mdat|moof|styp|free|skip|wide)|\x1aE\xdf\xa3|RIFF.{4}AVI |FLV|OggS|0&\xb2u"
    rb"|\x00\x00\x01[\xba\xb3]|GIF8|\x89PNG|G.{187}(?:G|\Z)|.{4}G.{191}(?:G|\Z)",
    re.DOTALL,
)
JPEG_MARKER = re.compile(rb"\xff+([\x01-\xfe])")
JPEG_STANDALONE = {0x01, *range(0xD0, 0xD9)}
JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
UNKNOWN_SIZE = 0x7FFF_F000  # the size that a WAV written to a pipe states, or more
SEGMENT, CLUSTER = 0x18538067, 0x1F43B675


def is_video(path: Path) -> bool:
    """Whether a file starts as a video file does; an empty one counts as cut. Only for the wording of errors."""
    with path.open("rb") as file:
        head = file.read(512)
    return not head or VIDEO_START.match(head) is not None


def jpeg_is_complete(data: bytes) -> bool:
    """Whether a JPEG has the marker of its end, wherever that is: anything may follow it."""
    position = 2
    while match := JPEG_MARKER.search(data, position):
        position, marker = match.end(), match[1][0]
        if marker == 0xD9:
            return True
        if marker not in JPEG_STANDALONE:
            position += int.from_bytes(data[position : position + 2], "big")
    return False


def image_pixels(data: bytes) -> int:
    """The number of pixels that the header of a PNG or JPEG states, which a decoder allocates; else 0."""
    if data.startswith(b"\x89PNG") and len(data) >= 24:
        columns, rows = struct.unpack_from(">II", data, 16)
        return int(rows * columns)
    position = 2 if data.startswith(b"\xff\xd8") else len(data)
    while match := JPEG_MARKER.search(data, position):
        position, marker = match.end(), match[1][0]
        if marker in JPEG_FRAMES and len(data) >= position + 7:
            rows, columns = struct.unpack_from(">HH", data, position + 3)
            return int(rows * columns)
        if marker not in JPEG_STANDALONE:
            position += int.from_bytes(data[position : position + 2], "big")
    return 0


def gif_is_complete(path: Path) -> bool:
    """Whether a GIF has its trailer; zeros may follow it."""
    with path.open("rb") as file:
        file.seek(-min(1024, os.fstat(file.fileno()).st_size), os.SEEK_END)
        return file.read().rstrip(b"\0").endswith(b";")


def matroska_is_complete(path: Path) -> bool:
    """Whether the elements of a Matroska or WebM file, down to its blocks, fill it as they state."""
    with path.open("rb") as file:
        position, end = 0, os.fstat(file.fileno()).st_size
        while position < end:
            file.seek(position)
            name, length = _integer(file, 4), _integer(file, 8)
            if name < 0 or length < 0:
                return False
            mark = 1 << (length.bit_length() - 1)
            start, size = file.tell(), length - mark
            if size != mark - 1:  # all ones are an unknown size, as in a live recording
                if start + size > end:
                    return False
                if name == SEGMENT:  # what follows it is no part of the video
                    end = start + size
            position = start if name in (SEGMENT, CLUSTER) else start + size
        return position == end


def _integer(file: BinaryIO, longest: int) -> int:
    """An EBML integer of variable length with the bit that marks its length; -1 if there is none."""
    first = file.read(1)
    length = 9 - first[0].bit_length() if first else 9
    data = first + file.read(length - 1)
    return int.from_bytes(data, "big") if len(data) == length <= longest else -1


def riff_sound(path: Path) -> tuple[int, int]:
    """The bytes of sound that a WAV file states, and those that follow its last chunk.

    The second number is negative if the file is cut in its sound. Both are 0 if it is another kind of file, or was
    written to a pipe and states no length.
    """
    with path.open("rb") as file:
        head, size = file.read(36), os.fstat(file.fileno()).st_size
        if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
            return 0, 0
        position, sound = 12, 0
        while position + 8 <= size:
            file.seek(position)
            name, length = file.read(4), int.from_bytes(file.read(4), "little")
            if name == b"data":
                if length >= UNKNOWN_SIZE:
                    length = int.from_bytes(head[28:36], "little") if head[:4] == b"RF64" else 0
                sound = length
                if not sound or sound > size - position - 8:
                    return sound, min(0, size - position - 8 - sound)
            if not re.fullmatch(rb"[ -~]{4}", name) or position + 8 + length > size:
                break
            file.seek(position := position + 8 + length)
            position += length % 2 and file.read(1) == b"\0"
        return sound, size - position if sound else 0
