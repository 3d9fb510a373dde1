"""Frames as one tall image, and back; nothing but plain images of the expected shape is decoded."""

import re
import struct
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.features import MAX_IMAGE_ROWS, Codec

FULL_CHROMA = 95
"""The lowest quality at which a JPEG keeps its colours at full resolution, 4:4:4; below it is 4:2:0."""
_WEBP_HEADER = struct.Struct("<4sI8sIxI")
_WEBP_SIDE = (1 << 14) - 1
_PNG_CHUNKS = {b"": (b"IHDR",), b"IHDR": (b"IDAT",), b"IDAT": (b"IDAT", b"IEND"), b"IEND": ()}
_JFIF = re.compile(rb"\xff\xd8\xff\xe0\x00\x10JFIF\x00.{7}\x00\x00", re.DOTALL)  # without a thumbnail
_JPEG_MARKER = re.compile(rb"\xff[^\x00]", re.DOTALL)
_JPEG_QUANTISATION, _JPEG_FRAME, _JPEG_HUFFMAN, _JPEG_SCAN = b"\xff\xdb", b"\xff\xc0", b"\xff\xc4", b"\xff\xda"


def encode_image(frames: NDArray[np.uint8], codec: Codec, quality: int | None) -> bytes:
    """Encode frames `[T, H, W, C]` as one image of `T * H` rows. Raises `ValueError` if that is too many rows."""
    length, height, width, channels = frames.shape
    if length * height > MAX_IMAGE_ROWS[codec]:
        reason = f"are more than the {MAX_IMAGE_ROWS[codec]} rows of a {codec} image: store the record in pages"
        raise ValueError(f"{length} frames of {height} rows {reason}")
    tall = np.ascontiguousarray(frames).reshape(length * height, width, channels)
    if codec == "png":
        return bytes(imagecodecs.png_encode(tall, level=9))
    if codec == "jpeg":
        assert quality is not None
        chroma = "444" if quality >= FULL_CHROMA else "420"
        image: Any = tall[..., 0] if channels == 1 else tall
        return bytes(imagecodecs.jpeg8_encode(image, level=quality, subsampling=chroma, optimize=True))
    rgb = np.ascontiguousarray(np.broadcast_to(tall, (length * height, width, 3)))
    if quality is None:
        return bytes(imagecodecs.webp_encode(rgb, level=80, lossless=True, method=2))
    return bytes(imagecodecs.webp_encode(rgb, level=quality, lossless=False, method=4))


def decode_image(data: bytes | memoryview, codec: Codec, quality: int | None, out: NDArray[np.uint8]) -> None:
    """Decode a tall image into the C-contiguous `out`, uint8 `[T, H, W, C]`.

    The shape in the data's header is compared with `out` before anything is allocated.

    Raises:
        ValueError: If the data is not one plain image of this codec and shape, lossy only if it should be.
    """
    length, height, width, channels = out.shape
    if len(data) > 2 * out.nbytes + 65_536:
        raise ValueError(f"an image of {len(data)} bytes for {out.nbytes} bytes of frames")
    grey_webp = channels == 1 and codec == "webp"  # stored as RGB
    expected = length * height, width, 3 if grey_webp else channels
    found = image_shape(data, codec, lossy=quality is not None)
    if found != expected:
        raise ValueError(f"an image of {list(found)} rows, columns and channels, not {list(expected)}")
    decode: Any = getattr(imagecodecs, {"png": "png_decode", "jpeg": "jpeg8_decode", "webp": "webp_decode"}[codec])
    tall = np.empty(expected, np.uint8) if grey_webp else out.reshape(expected)
    try:
        decode(data, out=tall[..., 0] if tall.shape[2] == 1 else tall)
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        raise ValueError(f"an image that cannot be decoded: {error or type(error).__name__}") from None
    if grey_webp:
        out[:] = tall[..., :1].reshape(out.shape)


def image_shape(data: bytes | memoryview, codec: Codec, *, lossy: bool) -> tuple[int, int, int]:
    """Rows, columns and channels that the header of an image states.

    Raises:
        ValueError: If it is not one plain image of this codec: decoders disagree on everything else.
    """
    if codec == "jpeg":
        shape = _plain_jpeg(data)
    else:
        shape = _plain_png(data) if codec == "png" else _plain_webp(data, b"VP8 " if lossy else b"VP8L")
    if shape is None:
        kind = f"{'lossy' if lossy else 'lossless'} {codec}" if codec == "webp" else codec
        raise ValueError(f"not one {kind} image of 8 bits per channel and nothing else")
    return shape


def _plain_png(data: bytes | memoryview) -> tuple[int, int, int] | None:
    """The shape of a file that holds only 8-bit grey or RGB pixels: decoders decompress other chunks, too."""
    offset, kind = 8, b""
    while offset < len(data):
        before, kind = kind, bytes(data[offset + 4 : offset + 8])
        if kind not in _PNG_CHUNKS[before]:
            return None
        offset += 12 + int.from_bytes(data[offset : offset + 4], "big")
    ended = offset == len(data) and data[-12:-4] == b"\0\0\0\0IEND"
    channels = {b"\x08\0": 1, b"\x08\2": 3}.get(bytes(data[24:26]))
    if not ended or channels is None:
        return None
    columns, rows = struct.unpack_from(">II", data, 16)
    return rows, columns, channels


def _plain_webp(data: bytes | memoryview, expected: bytes) -> tuple[int, int, int] | None:
    """The shape of a file of one chunk of this kind without alpha, and not a byte more."""
    if len(data) < _WEBP_HEADER.size + 5:
        return None
    riff, size, kind, chunk, image = _WEBP_HEADER.unpack_from(data)
    whole = size == len(data) - 8 == 12 + chunk + chunk % 2 and (chunk % 2 == 0 or data[-1] == 0)
    if not (whole and riff == b"RIFF" and kind == b"WEBP" + expected):
        return None
    if expected == b"VP8L":  # above the 14 bits of width and of height: whether there is alpha, and the version
        return None if image >> 28 else ((image >> 14) + 1, (image & _WEBP_SIDE) + 1, 3)
    if data[20] & 1 or len(data) < 30 or data[23:26] != b"\x9d\x01\x2a":  # not a key frame
        return None
    columns, rows = struct.unpack_from("<HH", data, 26)  # the upper two bits are for who shows it
    return rows & _WEBP_SIDE, columns & _WEBP_SIDE, 3


def _plain_jpeg(data: bytes | memoryview) -> tuple[int, int, int] | None:
    """The shape of a baseline JFIF image with one scan and not a byte more: no other colours, no Exif."""
    if not _JFIF.match(data):
        return None
    position, shapes = 20, []
    while True:
        kind, length = bytes(data[position : position + 2]), int.from_bytes(data[position + 2 : position + 4], "big")
        if kind not in (_JPEG_QUANTISATION, _JPEG_FRAME, _JPEG_HUFFMAN, _JPEG_SCAN) or length < 2:
            return None
        body = bytes(data[position + 4 : position + 2 + length])
        position += 2 + length
        if kind == _JPEG_FRAME:
            if len(body) < 6 or body[0] != 8:
                return None
            shapes.append(struct.unpack_from(">HHB", body, 1))
        if kind == _JPEG_SCAN:
            break
    end = _JPEG_MARKER.search(data, position)
    whole = end is not None and end[0] == b"\xff\xd9" and end.end() == len(data)
    if len(shapes) != 1 or body[:1] != bytes([shapes[0][2]]) or not whole:
        return None
    rows, columns, channels = shapes[0]
    return rows, columns, channels
