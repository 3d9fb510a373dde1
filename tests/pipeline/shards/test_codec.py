"""A member holds its one array and not a byte more, where another reader might find other data."""

import struct
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import get_args

import numpy as np
import pytest

from seqviews.pipeline.manifest import Codec
from seqviews.pipeline.shards.codec import _encode_frames, decode_array

FRAMES = np.random.default_rng(0).integers(0, 256, (2, 9, 7, 3), np.uint8)  # a WebP chunk of odd size
VARIANTS = 800


def choose(rng: np.random.Generator, choices: list[bytes]) -> bytes:
    return choices[rng.integers(len(choices))]


def riff(*chunks: tuple[bytes, bytes], size: int = 0) -> bytes:
    body = b"".join(name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", size + 4 + len(body)) + b"WEBP" + body


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    packed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def npy(header: bytes) -> bytes:
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + FRAMES.tobytes()


def webps(good: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    size = int.from_bytes(good[16:20], "little")
    image = (b"VP8L", good[20 : 20 + size])
    assert riff(image) == good
    header = bytearray(image[1])
    for bit in range(4, 8):  # alpha, and the three of the version
        header[4] ^= 1 << bit
        yield riff((b"VP8L", bytes(header)))
        header[4] ^= 1 << bit
    yield good[:-1] + b"\1" if size % 2 else riff((b"VP8L", image[1] + b"\0"))[:-1] + b"\1"
    yield from (good[:4] + good[8:], b"RIFX" + good[4:], good[:8] + b"WAVE" + good[12:], image[1])
    while True:
        extra = rng.bytes(int(rng.integers(1, 3000)))
        name = choose(rng, [b"EXIF", b"XMP ", b"ICCP", b"ALPH", b"VP8X", b"VP8L", b"ANIM", b"junk"])
        before, behind = riff((name, extra), image), riff(image, (name, extra))
        yield choose(
            rng, [before, behind, good + extra, riff(image) + riff(image), riff(image, size=len(extra)) + extra]
        )


def pngs(good: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    header, pixels, end = (b"IHDR", good[16:29]), (b"IDAT", good[41:-16]), (b"IEND", b"")
    assert png(header, pixels, end) == good
    yield from (good[:-12], good[:-1], png(header, end), png(pixels, header, end), png(header, pixels, (b"IEND", b"x")))
    yield from (png(header, pixels, end, pixels, end), png(header, header, pixels, end), png(header, pixels, end, end))
    yield from (
        png(header, pixels, end, (b"IEND", b"x")),
        good + good,
        good[:-12] + struct.pack(">I", 99) + good[-8:],
    )
    while True:
        extra = rng.bytes(int(rng.integers(1, 3000)))
        chunks = [header, pixels, end]
        chunks.insert(
            rng.integers(0, 4), (choose(rng, [b"tEXt", b"zTXt", b"iCCP", b"tRNS", b"IEND", b"IHDR", b"juNK"]), extra)
        )
        yield choose(rng, [good + extra, png(*chunks)])


def npys(good: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    header = good[10:128]
    assert npy(header) == good
    blank = header.rstrip()
    yield from (npy(blank), npy(header[:-1]), npy(header[:-1] + b" "), npy(header + b"\n\n"), npy(b"\n" + header))
    yield from (good + b"\0", good[:-1], npy(b""), npy(blank.replace(b" ", b"") + b"\n"))
    while True:
        padded = bytearray(blank.ljust(rng.integers(len(blank) + 1, 65_000)) + b"\n")
        place = rng.integers(len(blank), len(padded))
        stuff = rng.bytes(int(rng.integers(1, 40)))
        padded[place : place + len(stuff)] = stuff
        if bytes(padded).rstrip() != blank or not padded.endswith(b" \n"):
            yield npy(bytes(padded[:65_535]))


MAKERS = {"webp": webps, "png": pngs, "npy": npys}


@pytest.mark.parametrize("codec", get_args(Codec))
def test_nothing_hides_in_a_member(codec: Codec) -> None:
    good, out = _encode_frames(FRAMES, codec), np.empty_like(FRAMES)
    decode_array(good, codec, out)
    np.testing.assert_array_equal(out, FRAMES)
    for bad in islice(MAKERS[codec](good, np.random.default_rng(1)), VARIANTS):
        assert bad != good
        with pytest.raises(ValueError, match=r"^(not one lossless|not a version|an image of|\.npy array has)"):
            decode_array(memoryview(bad), codec, out)


def test_a_longer_header_of_blanks_is_what_numpy_may_write() -> None:
    out = np.empty_like(FRAMES)
    header = _encode_frames(FRAMES, "npy")[10:128].rstrip()
    for length in (len(header), 118, 1014, 60_000):
        decode_array(npy(header.ljust(length) + b"\n"), "npy", out)
        np.testing.assert_array_equal(out, FRAMES)
