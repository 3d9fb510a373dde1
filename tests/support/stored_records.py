"""Shards as tarfile, Pillow, numpy and json read them, and shards of arbitrary bytes for our reader."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from seqviews.pipeline.features import Features
from seqviews.pipeline.manifest import Manifest, load_manifest
from seqviews.pipeline.shard_table import ShardEntry
from seqviews.pipeline.shards.reader import ShardReader
from seqviews.pipeline.shards.shard import Shard
from seqviews.pipeline.storage.local import LocalFolder

Array: TypeAlias = np.ndarray[Any, Any]


def members(*tars: Path | bytes) -> list[tuple[str, bytes]]:
    """The names and contents of the members of tars, in order."""
    found = []
    for path in tars:
        with tarfile.open(fileobj=io.BytesIO(path if isinstance(path, bytes) else path.read_bytes())) as tar:
            found += [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    return found


def independent_jsons(tars: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """The JSON of every record by key, in stored order."""
    found = members(*sorted(tars))
    return {name.removesuffix(".json"): json.loads(data) for name, data in found if name.endswith(".json")}


def encoded_clips(split: Path) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """WebP and JSON of every clip of a split by key, in stored order."""
    found = members(*sorted(split.glob("*.tar")))
    contents = dict(found)
    clips = {n[:-5]: (contents[f"{n[:-5]}.frames.webp"], json.loads(data)) for n, data in found if n.endswith(".json")}
    assert len(found) == len(contents) == 2 * len(clips)
    return clips


def independent_clips(split: Path) -> dict[str, tuple[Array, dict[str, Any]]]:
    """Frames and JSON of every 16 x 16 clip of a split by key, in stored order."""
    clips = encoded_clips(split).items()
    return {k: (np.asarray(Image.open(io.BytesIO(webp))).reshape(-1, 16, 16, 3), about) for k, (webp, about) in clips}


def entry_of(path: Path, records: int) -> ShardEntry:
    """A manifest entry that agrees with a tar."""
    with path.open("rb") as file:
        return ShardEntry(path.name, records, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def read_shard(folder: Path, data: bytes, features: Features, records: int = 1) -> Shard:
    """Read a tar of these bytes with an entry that agrees with them."""
    (folder / "a.tar").write_bytes(data)
    return ShardReader(LocalFolder(folder), features).read(entry_of(folder / "a.tar", records))


def claim(split: Path, entry: ShardEntry, manifest: Manifest | None = None) -> None:
    """Write the split's manifest, or this one, with an entry in place of the one with its name."""
    manifest = manifest or load_manifest(split)
    shards = tuple(entry if shard.name == entry.name else shard for shard in manifest.shards)
    (split / "manifest.json").write_text(replace(manifest, shards=shards).to_json())
