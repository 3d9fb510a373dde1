"""Manifest: what a split holds, shard by shard."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jsonschema

from seqviews.pipeline.records import ShardError

SCHEMA_VERSION = 1
MAX_MANIFEST_BYTES = 64 << 20
Codec: TypeAlias = Literal["webp", "png", "npy"]
Split: TypeAlias = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Features:
    """What every record's sequence looks like: `shape` is `[T, H, W, C]`, `rate` in frames per second."""

    shape: tuple[int, int, int, int]
    dtype: Literal["uint8"] = "uint8"
    rate: float | None = None
    codec: Codec = "webp"


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What a data set is, the same for all of its splits.

    Attributes:
        name: Short name, `[a-z0-9_-]`.
        licence: Under what terms the records may be used.
        attribution: Whom to name.
        features: Shape, dtype, rate and codec of the records.
        static: Class names of each static factor.
        dynamic: Class names of each dynamic factor; None marks a trajectory, a list of numbers a frame.
    """

    name: str
    licence: str
    attribution: str
    features: Features
    static: Mapping[str, list[str] | None]
    dynamic: Mapping[str, list[str] | None]
    modality: Literal["clip"] = "clip"


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One tar: its file name, how many records and bytes it has, and its SHA-256."""

    name: str
    records: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of `manifest.json`, written when a split is complete; its JSON Schema is in docs/."""

    split: Split
    dataset: DatasetInfo
    parameters: Mapping[str, Any]
    encoders: Mapping[str, str]
    shards: tuple[ShardEntry, ...]

    def __len__(self) -> int:
        """The number of records in the split."""
        return sum(shard.records for shard in self.shards)

    @property
    def factors(self) -> dict[str, list[str] | None]:
        """All factors, static first: class names, or None for a trajectory."""
        return {**self.dataset.static, **self.dataset.dynamic}

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, which holds the shards' own: two equal digests mean equal records."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read and check the text of a `manifest.json`.

        Raises:
            ValueError: If it is not JSON, not of this schema version, or not what the schema says.
        """
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not JSON: {error}") from None
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise ValueError(f"written with schema version {version}, this seqviews reads {SCHEMA_VERSION}: upgrade it")
        mistake = jsonschema.exceptions.best_match(_validator().iter_errors(raw))
        if mistake is not None:
            raise ValueError(f"at {mistake.json_path}: {mistake.message[:200]}")
        dataset = raw["dataset"]
        features = Features(**{**dataset["features"], "shape": tuple(dataset["features"]["shape"])})
        manifest = cls(
            split=raw["split"],
            dataset=DatasetInfo(**{**dataset, "features": features}),
            parameters=raw["parameters"],
            encoders=raw["encoders"],
            shards=tuple(ShardEntry(**shard) for shard in raw["shards"]),
        )
        if len({shard.name for shard in manifest.shards}) < len(manifest.shards):
            raise ValueError("two shards have the same name")
        return manifest


@functools.cache
def _validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(Path(__file__).with_name("manifest.schema.json").read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema)


def load_manifest(folder: Path | str) -> Manifest:
    """Read the manifest of a split's folder, for example `sprites/train`.

    Raises:
        ShardError: If there is none, or it is not a valid manifest.
    """
    path = Path(folder) / "manifest.json"
    if not path.is_file():
        raise ShardError(f"{folder} has no manifest.json: not a prepared split, or its preparation did not finish")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise ShardError(f"{path} is larger than {MAX_MANIFEST_BYTES >> 20} MiB: not a manifest")
    try:
        return Manifest.from_json(path.read_bytes().decode("utf-8"))
    except ValueError as error:
        raise ShardError(f"{path}: {error}") from None
