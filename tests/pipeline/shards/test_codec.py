"""A member holds its one array and not a byte more, where another reader might find other data."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from seqviews.pipeline.features import Codec, Features
from seqviews.pipeline.shards.codec import _encode_frames, decode_frames

FRAMES = np.random.default_rng(0).integers(0, 256, (2, 9, 7, 3), np.uint8)  # a WebP chunk of odd size
VARIANTS = 800
STORED = [Features(FRAMES.shape, codec=codec) for codec in ("webp", "png", "npy")]
STORED += [Features(FRAMES.shape, codec=codec, quality=95) for codec in ("webp", "jpeg")]


def decode(data: bytes | memoryview, features: Features, out: NDArray[np.uint8]) -> None:
    decode_frames(data, features, len(out), range(len(out)), out)


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


def lossy_webps(good: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    size = int.from_bytes(good[16:20], "little")
    image = (b"VP8 ", good[20 : 20 + size])
    assert riff(image) == good
    yield riff((b"VP8 ", bytes([image[1][0] | 1]) + image[1][1:]))  # not a key frame
    yield riff((b"VP8X", bytes(10)), image)
    yield from containers(good, image, rng)


def jpegs(good: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    rest, adobe = good[20:], b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"
    yield from (good[2:], good[:-1], good[:2] + rest, good[:-2] + b"\xff\xd0" + good[-2:], good + b"\xff\xd9")
    yield from (good[:20] + adobe + transform + rest for transform in (b"\0", b"\1", b"\2"))  # other colours
    frame = good.index(b"\xff\xc0")
    length = int.from_bytes(good[frame + 2 : frame + 4], "big") + 2
    yield from (good[:frame] + good[frame : frame + length] + good[frame:], good[:frame] + good[frame + length :])
    for at, byte in ((1, 0xC2), (1, 0xC1), (4, 12), (6, 0), (6, 99), (8, 99), (9, 1), (9, 4)):
        yield good[: frame + at] + bytes([byte]) + good[frame + at + 1 :]
    while True:
        extra = rng.bytes(int(rng.integers(1, 3000)))
        kind = choose(rng, [b"\xff\xe1", b"\xff\xe2", b"\xff\xed", b"\xff\xfe", b"\xff\xdd", b"\xff\xe0"])
        segment = kind + struct.pack(">H", len(extra) + 2) + extra
        yield choose(rng, [good + extra, good[:20] + segment + rest, good + good, good[:-2] + segment + good[-2:]])


def webps(good: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    size = int.from_bytes(good[16:20], "little")
    image = (b"VP8L", good[20 : 20 + size])
    assert riff(image) == good
    header = bytearray(image[1])
    for bit in range(4, 8):  # alpha, and the three of the version
        header[4] ^= 1 << bit
        yield riff((b"VP8L", bytes(header)))
        header[4] ^= 1 << bit
    yield from containers(good, image, rng)


def containers(good: bytes, image: tuple[bytes, bytes], rng: np.random.Generator) -> Iterator[bytes]:
    odd = riff((image[0], image[1] + b"\0"))[:-1] + b"\1"
    yield good[:-1] + b"\1" if len(image[1]) % 2 else odd
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


MAKERS = [webps, pngs, npys, lossy_webps, jpegs]


@pytest.mark.parametrize(
    ("features", "variants"), [*zip(STORED, MAKERS, strict=True)], ids=lambda x: getattr(x, "codec", "")
)
def test_nothing_hides_in_a_member(
    features: Features, variants: Callable[[bytes, np.random.Generator], Iterator[bytes]]
) -> None:
    good, out = _encode_frames(FRAMES, features), np.empty_like(FRAMES)
    decode(good, features, out)
    if features.quality is None:
        np.testing.assert_array_equal(out, FRAMES)
    for bad in islice(variants(good, np.random.default_rng(1)), VARIANTS):
        assert bad != good
        with pytest.raises(ValueError, match=r"^(not one |not a version|an image of|\.npy array has)"):
            decode(memoryview(bad), features, out)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [90, 95])
@pytest.mark.parametrize("codec", ["jpeg", "webp"])
def test_lossy_frames_are_close_and_what_pillow_reads(codec: Codec, quality: int, channels: int) -> None:
    smooth = np.linspace(0, 200, 4 * 32 * 24 * channels).reshape(4, 32, 24, channels).astype(np.uint8)
    features = Features(smooth.shape, codec=codec, quality=quality)
    data, out = _encode_frames(smooth, features), np.empty_like(smooth)
    decode(data, features, out)
    assert 0 < np.abs(out.astype(int) - smooth).mean() < 3
    image = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(out, image.reshape(4, 32, 24, -1)[..., :channels])
    assert len(data) < len(_encode_frames(smooth, Features(smooth.shape, codec="npy"))) / 2


def test_a_lossless_member_is_not_taken_for_a_lossy_one() -> None:
    lossless, lossy, out = STORED[0], STORED[3], np.empty_like(FRAMES)
    for written, read in ((lossless, lossy), (lossy, lossless)):
        with pytest.raises(ValueError, match=r"not one .*webp image"):
            decode(_encode_frames(FRAMES, written), read, out)


def test_a_longer_header_of_blanks_is_what_numpy_may_write() -> None:
    out = np.empty_like(FRAMES)
    header = _encode_frames(FRAMES, STORED[2])[10:128].rstrip()
    for length in (len(header), 118, 1014, 60_000):
        decode(npy(header.ljust(length) + b"\n"), STORED[2], out)
        np.testing.assert_array_equal(out, FRAMES)
