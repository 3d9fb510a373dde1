"""Hostile members of a shard: frames that decompress to gigabytes, pickles, endless JSON."""

import functools
import io
import json
import math
import pickle
import struct
import zlib
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

Payload: TypeAlias = Callable[[], bytes]


def hostile_frames(codec: str, shape: tuple[int, int, int, int]) -> list[Payload]:
    """Payloads for frames of a shape; each is created when called."""
    return [*{"png": _pngs, "webp": _webps, "npy": _npys}[codec](shape), lambda: b"", lambda: pickle.dumps([1])]


def _saved(shape: tuple[int, int, int, int], kind: str, mode: str = "RGB", scale: int = 1, **options: Any) -> bytes:
    """An image of the size of the stacked frames."""
    length, height, width, _ = shape
    noise = np.random.default_rng(0).integers(0, 256, (length * height * scale, width * scale, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@functools.cache
def _zeros(mebibytes: int) -> bytes:
    """A zlib stream of so many MiB of zeros."""
    compressor = zlib.compressobj(9)
    return b"".join(compressor.compress(bytes(1 << 20)) for _ in range(mebibytes)) + compressor.flush()


def _png(width: int, height: int, depth: int, colour: int, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + b"".join(chunks) + _chunk(b"IEND", b"")


def _pngs(shape: tuple[int, int, int, int]) -> list[Payload]:
    rows, width = shape[0] * shape[1], shape[2]
    lines = zlib.compress(bytes((1 + 3 * width) * rows))
    good = _chunk(b"IDAT", lines)
    return [
        lambda: _png(2**31 - 1, 2**31 - 1, 8, 2, _chunk(b"IDAT", _zeros(1))),
        lambda: _png(50_000, 50_000, 16, 6, _chunk(b"IDAT", _zeros(1))),
        lambda: _png(0, 0, 8, 2, good),
        lambda: _png(width, rows, 8, 2, _chunk(b"IDAT", _zeros(100))),
        lambda: _png(width, rows, 8, 2, _chunk(b"zTXt", b"a\0\0" + _zeros(100)), good),
        lambda: _png(width, rows, 8, 2, _chunk(b"iCCP", b"a\0\0" + _zeros(100)), good),
        lambda: _png(width, rows, 8, 2, *[_chunk(b"tEXt", b"a\0b")] * 3000, good),
        lambda: _png(width, rows, 8, 2, good, _chunk(b"zTXt", b"a\0\0" + _zeros(100))),
        lambda: _png(width, rows, 8, 2, good, good),
        lambda: _png(width, rows, 8, 2),
        lambda: _png(width, rows, 8, 3, good),
        lambda: _png(width, rows, 8, 2, _chunk(b"tRNS", bytes(6)), good),
        lambda: _saved(shape, "png", "RGBA"),
        lambda: _saved(shape, "png", "P"),
        lambda: _saved(shape, "png", "L"),
        lambda: _saved(shape, "png", "1"),
        lambda: _saved(shape, "png", scale=2),
        lambda: _saved(shape, "png"),
        lambda: _saved(shape, "webp"),
    ]


def _webps(shape: tuple[int, int, int, int]) -> list[Payload]:
    good = functools.partial(_saved, shape, "webp", lossless=True)

    def claiming(width: int, height: int) -> bytes:
        """The 14 bits of width and height in the VP8L header changed."""
        data = bytearray(good())
        data[21:25] = struct.pack("<I", (width - 1) | (height - 1) << 14)
        return bytes(data)

    def animated(canvas: int | None) -> bytes:
        images = [Image.new("RGB", (shape[2], shape[0] * shape[1]), colour) for colour in ("red", "green")]
        buffer = io.BytesIO()
        images[0].save(buffer, "webp", save_all=True, append_images=images[1:], lossless=True)
        data = bytearray(buffer.getvalue())
        if canvas:
            data[24:30] = struct.pack("<I", canvas - 1)[:3] * 2
        return bytes(data)

    return [
        lambda: claiming(16_383, 16_383),
        lambda: claiming(shape[2], 16_383),
        lambda: claiming(1, 1),
        lambda: animated(None),
        lambda: animated(16_383),
        lambda: animated(1 << 24),
        lambda: good()[:30],
        lambda: good() + bytes(1000),
        lambda: struct.pack("<4sI4s", b"RIFF", 2**32 - 2, b"WEBP") + good()[12:],
        lambda: _saved(shape, "webp", "RGBA", lossless=True),
        lambda: _saved(shape, "webp", quality=50),
        lambda: _saved(shape, "webp", lossless=True, scale=2),
        lambda: _saved(shape, "webp", lossless=True, exif=b"Exif\0\0"),
        lambda: _saved(shape, "png"),
        good,
    ]


def _npys(shape: tuple[int, int, int, int]) -> list[Payload]:
    def npy(header: str, body: bytes = bytes(math.prod(shape)), version: bytes = b"\1\0") -> bytes:
        text = header.encode("latin1") + b"\n"
        return b"\x93NUMPY" + version + struct.pack("<H" if version == b"\1\0" else "<I", len(text)) + text + body

    def described(descr: str = "'|u1'", order: str = "False", dims: str = str(shape)) -> str:
        return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {dims}, }}"

    def pickled() -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, np.array([{"a": 1}] * math.prod(shape), object).reshape(shape), allow_pickle=True)
        return buffer.getvalue()

    headers = [described(dims=dims) for dims in (f"({1 << 40},)", "(-1,)", "()", "(True, 2)", "[1]", f"({10**400},)")]
    headers += [
        described(descr) for descr in ("()", "'|O'", "'<f8'", "'>u2'", "[('a', '|u1')]", "'V100000000'", "'|u1' ")
    ]
    headers += ["(" * 400, "-" * 60_000 + "1", "'''", "{", "{}", "", "\0", "é" * 100, described() + ";"]
    headers += [described(order="1")]
    return [
        *(functools.partial(npy, header) for header in headers),
        lambda: npy(described(), version=b"\2\0"),
        lambda: npy(described(), version=b"\3\0"),
        lambda: npy(described(order="True")),
        lambda: npy(described(), b""),
        lambda: npy(described(), bytes(math.prod(shape) + 1)),
        lambda: npy(described() + " " * 900),
        lambda: b"\x93NUMPY\1\0\xff\xff" + b"{",
        lambda: npy(described()),
        pickled,
    ]


def hostile_jsons() -> list[Payload]:
    """Payloads for the JSON of a record with the factors `shade`, a class, and `path`, a trajectory of four frames."""
    path = [[0.0, 1.0]] * 4

    def record(shade: str = "1", track: str = json.dumps(path), more: str = "") -> bytes:
        return f'{{"key":"k","factors":{{"shade":{shade},"path":{track}}}{more}}}'.encode()

    shades = ["1.0", "true", '"1"', "-1", "2", "null", "[1]", "{}", "1" + "0" * 5000, "1" + "0" * 4000, "NaN", "1e999"]
    tracks = ["null", "[]", "3", '"1"', '["a","b","c","d"]', '["1","2","3","4"]', "[1,[2],3,4]", "[[1,2],[3],[4],[5]]"]
    tracks += ["[null,1,2,3]", "[true,1,2,3]", "[NaN,1,2,3]", "[1e39,1,2,3]", "[1e999,1,2,3]", "[{},1,2,3]", "[1,2]"]
    tracks += [
        f"[[{leaf},1],[0,1],[0,1],[0,1]]" for leaf in ("null", "true", '"1"', "1e39", "1e400", "9" * 18, "9" * 99)
    ]
    tracks += [f"[{'9' * digits},1,2,3]" for digits in (19, 40, 400, 4000, 5000)]
    tracks += ["[" * depth + "]" * depth for depth in (30, 70, 900, 10_000)]
    whole = [b"", b"{", b"[]", b"null", b"1", b'"x"', b"{}", b'{"factors":[]}', b"\xff\xfe"]
    whole += [b'{"factors":{"a":"\xff"}}']
    whole += [b"[" * 10_000, b'{"a":' * 10_000, b"\xef\xbb\xbf" + record(), record() + b"x", record() + b" " * 100]
    whole += [record(more=',"factors":{"shade":0,"path":[1,2,3,4]}'), record(more=',"extra":1'), record()]
    whole += [record().decode().encode("utf-16"), record().decode().encode("utf-32-le"), record(more=',"n":"\\ud800"')]
    return [
        *(functools.partial(record, shade) for shade in shades),
        *(functools.partial(record, track=track) for track in tracks),
        *(functools.partial(bytes, data) for data in whole),
        lambda: record(more=',"x":"' + "x" * (1 << 24) + '"'),
        lambda: record(more=',"x":[' + "[]," * 340_000 + "0]"),
        lambda: record(more=',"x":{' + ",".join(f'"{i}":0' for i in range(90_000)) + ',"0":1}'),
    ]
