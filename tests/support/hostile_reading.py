"""Attacks on the reader, in a module that a new process can import to measure its memory."""

import gc
import io
import json
import resource
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import manifest_mutations
import numpy as np
import tar_mutations
from hostile_payloads import hostile_frames, hostile_jsons
from PIL import Image
from stored_records import claim, entry_of, independent_jsons, members
from toy_clips import ToyClips

from seqviews.pipeline.features import Codec
from seqviews.pipeline.manifest import Manifest, load_manifest
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.records import ShardError
from seqviews.pipeline.stream.stream import SequenceStream

SHAPE = (4, 16, 16, 3)
Record: TypeAlias = tuple[str, bytes, int, bytes]  # key, frames, shade, path


@dataclass
class Report:
    """The result of many attacks: descriptions of faults, and how often data was rejected and read."""

    rejected: int = 0
    read: int = 0
    faults: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")  # seconds of processor time, attack
    grown: int = 0  # MiB of memory at the peak, over that of a good epoch
    reasons: Counter[str] = field(default_factory=Counter)


Attack: TypeAlias = tuple[str, Callable[[], bool]]  # a name; True if data was read, ShardError, or a fault


def conduct(root: Path, attacks: Iterable[Attack]) -> Report:
    """Make the attacks one by one and watch for other exceptions, files, time and memory."""
    report = Report()
    before = peak_memory()
    for name, attack in attacks:
        files = {path: path.stat().st_size for path in root.rglob("*")}
        start = time.process_time()
        try:
            report.read += attack()
        except ShardError as error:
            report.rejected += 1
            report.reasons[" ".join(str(error).split(": ")[1:])[:24]] += 1
        except BaseException as error:
            report.faults.append(f"{name}: {type(error).__name__}: {str(error)[:300]}")
        report.slowest = max(report.slowest, (time.process_time() - start, name))
        if {path: path.stat().st_size for path in root.rglob("*")} != files:
            report.faults.append(f"{name}: files were written")
    report.grown = peak_memory() - before
    return report


def peak_memory() -> int:
    """In MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def good_split(root: Path, codec: Codec) -> Path:
    """Six clips in two shards, read once, so that what a good epoch needs is there before memory is measured."""
    out = root / codec
    prepare(ToyClips(counts=(2, 0, 0), shape=SHAPE, codec=codec), out, shard_sources=1)
    assert len(list(records_of(out / "train"))) == 6
    return out / "train"


def records_of(split: Path) -> Iterator[Record]:
    """The records as a trainer gets them."""
    stream = SequenceStream(split, 1, factors=["shade", "path"])
    for batch in stream:
        for i, key in enumerate(batch.keys):
            frames = batch.x[i].permute(0, 2, 3, 1).contiguous().numpy().tobytes()
            yield key, frames, int(batch.factors["shade"][i]), batch.factors["path"][i].numpy().tobytes()


def independent_records(split: Path, codec: str) -> Iterator[Record]:
    """Yield the same by tarfile, Pillow, numpy and json."""
    for path in sorted(split.glob("*.tar")):
        found = members(path)
        contents = dict(found)
        assert len(contents) == len(found), "a name is repeated"
        for key, about in independent_jsons([path]).items():
            factors = about["factors"]
            assert type(factors["shade"]) is int
            yield key, image(contents[f"{key}.frames.{codec}"], codec), factors["shade"], trajectory(factors["path"])


def image(data: bytes, codec: str) -> bytes:
    if codec == "npy":
        array = np.load(io.BytesIO(data), allow_pickle=False)
        assert (array.dtype, array.shape) == (np.uint8, SHAPE)
        return bytes(array.tobytes())
    opened = Image.open(io.BytesIO(data))
    assert (opened.mode, opened.size) == ("RGB", (SHAPE[2], SHAPE[0] * SHAPE[1]))
    return np.asarray(opened).tobytes()


def trajectory(value: Any) -> bytes:
    def leaves(tree: Any) -> Iterator[Any]:
        for child in tree if isinstance(tree, list) else ():
            yield from leaves(child)
        if not isinstance(tree, list):
            yield tree

    assert all(type(leaf) in (int, float) for leaf in leaves(value))
    array = np.array(value, np.float32)
    assert len(array) == SHAPE[0]
    assert np.isfinite(array).all()
    return array.tobytes()


def shards(split: Path, codec: Codec, seeds: range) -> Iterator[Attack]:
    """Mutated tars; the manifest agrees with each, also in the number of records that tarfile finds."""
    manifest = load_manifest(split)
    path = split / manifest.shards[0].name
    original = tar_mutations.Original(path.read_bytes(), codec, SHAPE, split.parents[1])
    for seed in seeds:
        mutation = tar_mutations.MUTATIONS[seed % len(tar_mutations.MUTATIONS)]
        data = mutation(np.random.default_rng(seed), original)
        path.write_bytes(data)
        claim(split, replace(entry_of(path, found_records(path)), bytes=max(len(data), 1024)), manifest)
        yield f"{codec} {mutation.__name__} {seed}", lambda: same_records(split, codec)


def payloads(split: Path, codec: Codec, seeds: range) -> Iterator[Attack]:
    """Every hostile payload once, as the frames or the JSON of the first record."""
    manifest = load_manifest(split)
    path = split / manifest.shards[0].name
    good = members(path)
    frames, jsons = hostile_frames(codec, SHAPE), hostile_jsons()
    for i, payload in enumerate([*frames, *jsons]):
        at = 0 if i < len(frames) else 1
        changed = [*good[:at], (good[at][0], payload()), *good[at + 1 :]]
        path.write_bytes(tar_mutations.tar_of(changed))
        claim(split, entry_of(path, 3), manifest)
        yield f"{codec} payload {i}: {changed[at][1][-80:]!r}", lambda: same_records(split, codec)


def found_records(path: Path) -> int:
    try:
        with tarfile.open(path, "r:") as tar:
            return max(1, sum(name.endswith(".json") for name in tar.getnames()))
    except (tarfile.TarError, ValueError, OverflowError):
        return 3


def same_records(split: Path, codec: str) -> bool:
    ours, theirs = sorted(records_of(split)), sorted(independent_records(split, codec))
    assert ours == theirs, f"{len(ours)} records read, {len(theirs)} are there, or they differ"
    return True


def flips(split: Path, codec: Codec, seeds: range) -> Iterator[Attack]:
    """One flipped bit of a tar, the manifest unchanged."""
    paths = sorted(split.glob("*.tar"))
    for seed in seeds:
        rng, path = np.random.default_rng(seed), paths[seed % 2]
        original = path.read_bytes()
        data = bytearray(original)
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        yield f"{codec} flip {seed}", lambda: bool(list(records_of(split)))
        path.write_bytes(original)


def manifests(split: Path, codec: Codec, seeds: range) -> Iterator[Attack]:
    """Mutated manifests; one that is accepted round-trips, and its split can be iterated."""
    text = (split / "manifest.json").read_text()
    for seed in seeds:
        mutation = manifest_mutations.MUTATIONS[seed % len(manifest_mutations.MUTATIONS)]
        (split / "manifest.json").write_bytes(mutation(np.random.default_rng(seed), text))
        yield f"{codec} {mutation.__name__} {seed}", lambda: round_trips(split)


def round_trips(split: Path) -> bool:
    manifest = load_manifest(split)
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert json.loads(manifest.to_json()) == json.loads((split / "manifest.json").read_bytes())
    for batch in SequenceStream(split, 4, factors=list(manifest.factors)):
        assert batch.x.shape[0] == len(batch.keys)
    return True


def sizes(split: Path, codec: Codec, seeds: range) -> Iterator[Attack]:
    """Shards that are large, or say so: files with holes, so that nothing but the reader needs memory."""
    manifest = load_manifest(split)
    path = split / manifest.shards[0].name
    good = path.read_bytes()
    frames, about = tar_mutations.header_offsets(good)[:2]
    cases = [(about, 1 << 30, 1 << 30), (about, 1 << 30, 1 << 20), (about, 255 << 20, 256 << 20)]
    for where, size, length in [*cases, (frames, 255 << 20, 256 << 20), (None, 0, 256 << 20)]:
        data = good if where is None else tar_mutations.with_field(good, where, "size", b"%011o" % size)
        with path.open("wb") as file:
            file.write(data if where is None else data[: where + tar_mutations.BLOCK + 20])
            file.truncate(length)
        claim(split, entry_of(path, 3), manifest)
        yield f"{size} bytes at {where} in {length}", lambda: bool(list(records_of(split)))
        gc.collect()  # an error that was caught holds its shard until then


def attack(root: Path, attacks: Callable[[Path, Codec, range], Iterator[Attack]], codec: Codec, seeds: range) -> Report:
    """Attack the reader; see the functions above."""
    return conduct(root, attacks(good_split(root, codec), codec, seeds))
