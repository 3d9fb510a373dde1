"""The orientation that the Exif of a JPEG states."""

import struct

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.sources.containers import JPEG_MARKER, JPEG_STANDALONE

APP1, SCAN, ORIENTATION = 0xE1, 0xDA, 0x0112


def orientation(data: bytes) -> int:
    """The orientation of a JPEG, 1 to 8; 1, which is upright, if it states none."""
    position = 2
    while match := JPEG_MARKER.search(data, position):
        position, marker = match.end(), match[1][0]
        if marker == SCAN:
            break
        if marker not in JPEG_STANDALONE:
            length = int.from_bytes(data[position : position + 2], "big")
            if marker == APP1 and data[position + 2 : position + 8] == b"Exif\0\0":
                return _of_tiff(data[position + 8 : position + length])
            position += length
    return 1


def _of_tiff(tiff: bytes) -> int:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 10:
        return 1
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    count = struct.unpack_from(order + "H", tiff, start)[0] if start + 2 <= len(tiff) else 0
    for entry in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
        if tag == ORIENTATION:
            return value if 1 <= value <= 8 else 1
    return 1


def upright(pixels: NDArray[np.uint8], stated: int) -> NDArray[np.uint8]:
    """Rotate and mirror an image `[H, W, C]` as its orientation requires to be seen upright.

    >>> upright(np.arange(6, dtype=np.uint8).reshape(2, 3, 1), 6)[..., 0].tolist()
    [[3, 0], [4, 1], [5, 2]]
    """
    if stated >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows, columns = stated in (3, 4, 7, 8), stated in (2, 3, 6, 7)
    return pixels[:: -1 if rows else 1, :: -1 if columns else 1]
