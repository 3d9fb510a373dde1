"""Attacks on pages and lengths: other images, pages that are missing or moved, numbers of frames that are not true."""

import functools
import io
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import imagecodecs
import numpy as np
from hostile_reading import Attack, Report, conduct
from numpy.typing import NDArray
from PIL import Image
from stored_records import claim, entry_of, members
from tar_mutations import Member, damaged, pick, rearranged, tar_of
from toy_lengths import clip_features, write

from seqviews.pipeline.features import Features
from seqviews.pipeline.manifest import load_manifest
from seqviews.pipeline.records import ShardError
from seqviews.pipeline.shards.check import check_dataset
from seqviews.pipeline.shards.sample import decode_sample
from seqviews.pipeline.stream.excerpt import Excerpt, Place
from seqviews.pipeline.stream.stream import SequenceStream

Pixels: TypeAlias = NDArray[np.uint8]
Change: TypeAlias = Callable[[np.random.Generator, bytes, Pixels], bytes]
SIDE = 16  # of a frame
STORED = {
    "jpeg": clip_features(codec="jpeg", quality=90, page_frames=8),
    "grey jpeg": replace(clip_features(codec="jpeg", quality=95, page_frames=4), shape=(30, SIDE, SIDE, 1)),
    "webp": clip_features(codec="webp", quality=80, page_frames=8),
    "grey webp": replace(clip_features(codec="webp", quality=95, page_frames=7), shape=(30, SIDE, SIDE, 1)),
}
NUMBERS: list[Any] = [
    -1,
    0,
    1,
    4,
    5,
    7,
    8,
    9,
    16,
    22,
    23,
    29,
    30,
    31,
    38,
    10**5,
    10**9,
    2**63,
    1e308,
    8.0,
    "8",
    None,
    True,
]
WHERE: list[Place] = ["random", "first", "centre", "all"]
CHROMA = ["440", "411", "444"]


def saved(pixels: Pixels, kind: str, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def closed(data: bytes) -> bytes:
    """Cut data with a correct end: the marker of a JPEG, or the sizes of a WebP."""
    if data[:4] != b"RIFF":
        return data + b"\xff\xd9"
    data += bytes(len(data) % 2)
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:16] + struct.pack("<I", len(data) - 20) + data[20:]


def of_size(data: bytes, rows: int, columns: int) -> bytes:
    """The size that the header states replaced."""
    if data[:4] == b"RIFF":
        return data[:26] + struct.pack("<HH", columns % (1 << 14), rows % (1 << 14)) + data[30:]
    start = data.index(b"\xff\xc0") + 5
    return data[:start] + struct.pack(">HH", rows, columns) + data[start + 4 :]


def cut(rng: np.random.Generator, data: bytes) -> bytes:
    return data[: int(rng.integers(20, len(data)))]


CHANGES: dict[str, Change] = {
    "nothing": lambda rng, data, x: data,
    "cut": lambda rng, data, x: cut(rng, data),
    "cut and closed": lambda rng, data, x: closed(cut(rng, data)),
    "zeros": lambda rng, data, x: cut(rng, data).ljust(len(data) - 2, b"\0") + data[-2:],
    "bytes": lambda rng, data, x: damaged(rng, data, [1, 1, 4, 40]),
    "head": lambda rng, data, x: damaged(rng, data[:600], [1]) + data[600:],
    "inserted": lambda rng, data, x: (start := cut(rng, data)) + rng.bytes(3) + data[len(start) :],
    "removed": lambda rng, data, x: (start := cut(rng, data)) + data[len(start) + 3 :],
    "tail": lambda rng, data, x: data + rng.bytes(9),
    "twice": lambda rng, data, x: data + data,
    "empty": lambda rng, data, x: b"",
    "noise": lambda rng, data, x: rng.bytes(300),
    "bomb": lambda rng, data, x: of_size(data, 65_500, 65_500),
    "sizes": lambda rng, data, x: of_size(data, *map(int, rng.integers(0, 1 << 16, 2))),
    "same size": lambda rng, data, x: of_size(data, *x.shape[:2]),
    "components": lambda rng, data, x: data.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11" + rng.bytes(1)),
    "taller": lambda rng, data, x: saved(np.concatenate([x, x[:SIDE]]), "JPEG"),
    "a row less": lambda rng, data, x: saved(x[:-1], "JPEG"),
    "wider": lambda rng, data, x: saved(np.concatenate([x, x], 1), "WEBP"),
    "rows and columns": lambda rng, data, x: saved(x.swapaxes(0, 1).copy(), "JPEG"),
    "grey": lambda rng, data, x: saved(x, "JPEG", "L"),
    "colour": lambda rng, data, x: saved(x, "JPEG"),
    "cmyk": lambda rng, data, x: saved(x, "JPEG", "CMYK"),
    "12 bits": lambda rng, data, x: bytes(imagecodecs.jpeg_encode(x.astype(np.uint16) << 4, bitspersample=12)),
    "16 bits": lambda rng, data, x: bytes(imagecodecs.png_encode(x.astype(np.uint16) << 8)),
    "lossless jpeg": lambda rng, data, x: bytes(imagecodecs.ljpeg_encode(x[..., 0])),
    "progressive": lambda rng, data, x: saved(x, "JPEG", progressive=True),
    "turned": lambda rng, data, x: saved(x, "JPEG", exif=turned()),
    "turned webp": lambda rng, data, x: saved(x, "WEBP", exif=turned()),
    "profile": lambda rng, data, x: saved(x, "JPEG", icc_profile=bytes(99)),
    "comment": lambda rng, data, x: saved(x, "JPEG", comment=b"hello"),
    "restart markers": lambda rng, data, x: saved(x, "JPEG", restart_marker_blocks=1),
    "rgb": lambda rng, data, x: bytes(imagecodecs.jpeg8_encode(x, level=90, outcolorspace="RGB")),
    "chroma": lambda rng, data, x: bytes(imagecodecs.jpeg8_encode(x, level=90, subsampling=pick(rng, CHROMA))),
    "quality": lambda rng, data, x: saved(x, "WEBP", quality=int(rng.integers(100))),
    "lossless": lambda rng, data, x: saved(x, "WEBP", lossless=True),
    "alpha": lambda rng, data, x: saved(np.dstack([x, x[..., :1]]), "WEBP", "RGBA"),
    "animated": lambda rng, data, x: saved(x, "WEBP", save_all=True, append_images=[Image.fromarray(255 - x)]),
    "png": lambda rng, data, x: saved(x, "PNG"),
}


def page_changed(rng: np.random.Generator, found: list[Member], features: Features) -> list[Member]:
    number = pick(rng, [i for i, (name, _) in enumerate(found) if "frames" in name])
    name, data = found[number]
    pixels = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    found[number] = name, CHANGES[pick(rng, list(CHANGES))](rng, data, pixels)
    return found


def pages_moved(rng: np.random.Generator, found: list[Member], features: Features) -> list[Member]:
    """Members missing, twice or in another order; or the contents of two exchanged, or the name of one changed."""
    i, j = (int(k) for k in rng.integers(len(found), size=2))
    if rng.random() < 0.3:
        (name, data), (name_2, data_2) = found[i], found[j]
        found[i], found[j] = (name, data_2), (name_2, data)
        return found
    if rng.random() < 0.3:
        numbers = ["000", "001", "0", "0000", "-01", " 01", "999", "1000", ""]
        key, _, extension = found[i][0].partition(".")
        suffix = pick(rng, [extension.rpartition(".")[2], "jpeg", "png", "pyd"])
        found[i] = f"{key}.frames-{pick(rng, numbers)}.{suffix}", found[i][1]
        return found
    return rearranged(rng, found, i, j, ["missing", "twice", "swap", "shuffle", "reversed"], found[0])


def json_changed(rng: np.random.Generator, found: list[Member], features: Features) -> list[Member]:
    """A record states another number of frames, or has a trajectory of another length."""
    number = pick(rng, [i for i, (name, _) in enumerate(found) if name.endswith("json")])
    about = json.loads(found[number][1])
    if rng.random() < 0.2:
        about["factors"]["time"].pop()
    else:
        about["frames"] = pick(rng, [about["frames"] + pick(rng, [-8, -4, -1, 1, 4, 8]), pick(rng, NUMBERS)])
    found[number] = found[number][0], json.dumps(about).encode()
    return found


def manifest_changed(rng: np.random.Generator, text: str) -> str:
    """The manifest states other lengths, pages, sizes or codecs."""
    raw = json.loads(text)
    features = raw["dataset"]["features"]
    for _ in range(pick(rng, [1, 1, 2])):
        name = pick(rng, ["min_frames", "page_frames", "quality", "frames", "height", "channels", "codec", "missing"])
        if name in ("frames", "height", "channels"):
            features["shape"][{"frames": 0, "height": 1, "channels": 3}[name]] = pick(rng, [*NUMBERS, 3])
        elif name == "missing":
            features.pop(pick(rng, ["min_frames", "page_frames", "quality"]), None)
        else:
            features[name] = pick(rng, NUMBERS if name != "codec" else ["jpeg", "webp", "png", "npy"])
    return json.dumps(raw)


def attacks(split: Path, features: Features, seeds: range) -> Iterator[Attack]:
    """Tars with other pages or lengths, which the manifest agrees with, and manifests with other lengths or pages."""
    manifest, text = load_manifest(split), (split / "manifest.json").read_text()
    path = split / manifest.shards[0].name
    good = path.read_bytes()
    changes = [page_changed, page_changed, page_changed, pages_moved, json_changed]
    for seed in seeds:
        rng = np.random.default_rng(seed)
        if rng.random() < 0.2:
            (split / "manifest.json").write_text(manifest_changed(rng, text))
            what = "manifest"
        else:
            change = pick(rng, changes)
            path.write_bytes(tar_of(change(rng, members(good), features)))
            claim(split, entry_of(path, max(1, sum(name.endswith("json") for name, _ in members(path)))), manifest)
            what = change.__name__
        for excerpt in (None, Excerpt(3, 2, pick(rng, WHERE)), Excerpt(int(rng.integers(1, 40)))):
            attack = functools.partial(same_clips, split, features, excerpt)
            yield f"{what} {seed} {excerpt}", functools.partial(in_a_sentence, attack)
        yield f"{what} {seed} checked", functools.partial(in_a_sentence, lambda: is_sound(split))
        yield f"{what} {seed} as samples", lambda: same_samples(split, features)
        path.write_bytes(good)
        (split / "manifest.json").write_text(text)


def in_a_sentence(attack: Callable[[], bool]) -> bool:
    """Run an attack; its error must be one printable line that names the shard, and the member, or the manifest."""
    try:
        return attack()
    except ShardError as error:
        check_sentence(str(error))
        raise
    except ValueError as error:
        if str(error).startswith("an excerpt of") or str(error).endswith("frames of the excerpt"):
            return False
        raise


def check_sentence(text: str) -> None:
    assert text.isprintable(), repr(text)
    assert len(text) < 500, text
    assert "manifest.json: " in text or ".tar: " in text, text


def same_clips(split: Path, features: Features, excerpt: Excerpt | None) -> bool:
    """Stream, and compare every frame with what Pillow finds on its page."""
    pages = features.page_frames or 1
    for batch in SequenceStream(split, 5, factors=["kind", "time"], excerpt=excerpt, threads=1):
        found = dict(members(*split.glob("*.tar")))
        frames = batch.x.permute(0, 1, 3, 4, 2).numpy()
        for row, key in enumerate(batch.keys):
            length = len(frames[row]) if batch.lengths is None else int(batch.lengths[row])
            assert excerpt is not None or length == json.loads(found[f"{key}.json"])["frames"]
            start, step = 0 if batch.starts is None else int(batch.starts[row]), 1 if excerpt is None else excerpt.step
            for number, frame in zip(range(start, start + length * step, step), frames[row], strict=False):
                suffix = "jpg" if features.codec == "jpeg" else "webp"
                page = image(found[f"{key}.frames-{number // pages:03d}.{suffix}"])
                top = number % pages * SIDE
                np.testing.assert_array_equal(frame, page[top : top + SIDE, :, : frame.shape[2]])
    return True


@functools.lru_cache(maxsize=64)
def image(data: bytes) -> Pixels:
    opened = Image.open(io.BytesIO(data))
    assert opened.mode in ("L", "RGB")
    pixels = np.asarray(opened)
    return pixels if pixels.ndim == 3 else pixels[..., np.newaxis]


def is_sound(split: Path) -> bool:
    for check in check_dataset(split).values():
        for problem in check.problems:
            raise ShardError(problem)
    return True


def same_samples(split: Path, features: Features) -> bool:
    """Decode the records as another reader gives them, with the features as they were, and without."""
    samples: dict[str, dict[str, Any]] = {}
    for name, data in members(*split.glob("*.tar")):
        key, _, extension = name.partition(".")
        samples.setdefault(key, {"__key__": key})[extension] = data
    wrong = 0
    for sample in samples.values():
        for known in (features, None):
            try:
                x = decode_sample(sample, known)["x"].permute(0, 2, 3, 1).numpy()
            except ShardError:
                wrong += 1
                continue
            whole = np.concatenate([image(sample[name]) for name in sorted(sample) if name.startswith("frames")])
            assert known is None or x.shape == (json.loads(sample["json"])["frames"], *features.shape[1:])
            np.testing.assert_array_equal(x.reshape(len(whole), whole.shape[1], -1), whole[..., : x.shape[3]])
    return not wrong


def attack(root: Path, codec: str, seeds: range) -> Report:
    """Attack a split of two sources of clips of 5 to 30 frames, stored as in `STORED`."""
    split = write(root / "toy", STORED[codec], ["a", "b"])
    assert same_clips(split, STORED[codec], None)
    return conduct(root, attacks(split, STORED[codec], seeds))
