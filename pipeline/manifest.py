"""Manifest: the contents of a split, shard by shard."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jsonschema
import numpy as np

from seqviews.pipeline.features import Features, MelFeatures, MelParameters
from seqviews.pipeline.records import ShardError
from seqviews.pipeline.shard_table import MAX_TABLE_BYTES, TABLE, ShardEntry, ShardTable, record_counts
from seqviews.pipeline.shards.strict_json import parse_object, plain
from seqviews.pipeline.storage.folder import MANIFEST, Folder, StorageError
from seqviews.pipeline.storage.urls import open_folder

SCHEMA_VERSION = 2
MAX_MANIFEST_BYTES = 4 << 20  # 20,000 shards, the schema's limit, are 3.2 MB
MAX_RECORD_BYTES = 256 << 20  # decoded
MIN_RECORD_BYTES = 4 * 512  # in a tar: two members, each a header and at least a block
Split: TypeAlias = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """The description of a data set, the same for all of its splits.

    Attributes:
        name: Short name, `[a-z0-9_-]`.
        licence, attribution: Licence of the records, and whom to credit.
        features: Shape, dtype, rate and codec of the records.
        static, dynamic: Class names of each factor; None marks a trajectory, a list of numbers per frame.
    """

    name: str
    licence: str
    attribution: str
    features: Features
    static: Mapping[str, list[str] | None]
    dynamic: Mapping[str, list[str] | None]

    @property
    def modality(self) -> Literal["clip", "segment"]:
        """The kind of its records."""
        return "clip" if self.features.mel is None else "segment"

    def as_json(self) -> dict[str, Any]:
        """The attributes, those of the features that are not used left out."""
        return {**asdict(self), "features": self.features.as_json()}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> DatasetInfo:
        """Return the description that `as_json`, or the JSON of a manifest, holds."""
        fields = {name: value for name, value in raw.items() if name != "modality"}
        return cls(**{**fields, "features": _features(raw["features"])})


def _no_table(name: str) -> bytes:
    raise ValueError(f"its shards are in {name}, which is not here")


def _described(shards: Sequence[ShardEntry]) -> list[dict[str, Any]] | dict[str, Any]:
    if isinstance(shards, ShardTable):
        return {"file": TABLE, "sha256": hashlib.sha256(shards.data).hexdigest()}
    return [asdict(shard) for shard in shards]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of `manifest.json`, written when a split is complete; its JSON Schema is in docs/.

    Its shards are a tuple, or a `ShardTable` if they are more than 20,000: then they are in a file of their own.
    """

    split: Split
    dataset: DatasetInfo
    parameters: Mapping[str, Any]
    encoders: Mapping[str, str]
    shards: Sequence[ShardEntry]

    def __len__(self) -> int:
        """Return the number of records in the split."""
        return int(record_counts(self.shards).sum())

    @property
    def factors(self) -> dict[str, list[str] | None]:
        """All factors, static first: class names, or None for a trajectory."""
        return {**self.dataset.static, **self.dataset.dynamic}

    @property
    def schema_version(self) -> int:
        """The oldest that can express it; 2 if records differ in length, have pages or a quality, or shards a table."""
        features = self.dataset.features
        if isinstance(self.shards, ShardTable):
            return 2
        return 1 if features.min_frames is features.quality is features.page_frames is None else 2

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, which holds those of the shards: equal digests mean equal records."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Return the text of `manifest.json`."""
        raw: dict[str, Any] = {"schema_version": self.schema_version, "split": self.split}
        raw |= {"dataset": self.dataset.as_json(), "parameters": self.parameters, "encoders": self.encoders}
        raw["shards"] = _described(self.shards)
        raw["dataset"]["modality"] = self.dataset.modality
        if self.dataset.features.mel is None:
            del raw["dataset"]["features"]["mel"]
        return json.dumps(raw, indent=1, default=plain) + "\n"

    @classmethod
    def from_json(cls, text: str, read: Callable[[str], bytes] = _no_table) -> Manifest:
        """Parse and check the text of a `manifest.json`; `read` returns the contents of the file that it names.

        Raises:
            ValueError: If it is not JSON, has a newer schema version, or violates the schema.
        """
        raw = parse_object(text)
        _check_version(raw)
        mistake = jsonschema.exceptions.best_match(islice(_validator().iter_errors(raw), 100))
        if mistake is not None:
            text = mistake.message  # the value, which may be long, then the reason
            place = repr(mistake.json_path[:100])[1:-1]  # it holds names from the file
            raise ValueError(f"at {place}: {text if len(text) <= 200 else '...' + text[-200:]}")
        shards: Sequence[ShardEntry]
        if isinstance(raw["shards"], dict):
            shards = ShardTable.from_bytes(raw["split"], read(raw["shards"]["file"]), raw["shards"]["sha256"])
        else:
            shards = tuple(ShardEntry(**shard) for shard in raw["shards"])
        manifest = cls(raw["split"], DatasetInfo.from_json(raw["dataset"]), raw["parameters"], raw["encoders"], shards)
        if raw["schema_version"] != manifest.schema_version:
            raise ValueError(f"schema version {raw['schema_version']}, its features are of {manifest.schema_version}")
        _check_sizes(manifest)
        return manifest


def _check_version(raw: Mapping[str, Any]) -> None:
    schema = raw.get("schema_version")
    if isinstance(schema, int) and schema > SCHEMA_VERSION:
        encoders = raw.get("encoders")
        writer = encoders.get("seqviews") if isinstance(encoders, dict) else None
        needed = f"seqviews {writer[:20]}" if isinstance(writer, str) and writer.isprintable() else "a newer seqviews"
        versions = f"schema version {schema}, this seqviews reads {SCHEMA_VERSION}"
        raise ValueError(f"written by {needed} with {versions}: upgrade it, pip install -U seqviews")


def check_record_bytes(features: Features) -> None:
    """Check that a decoded record does not exceed the limit. Raises `ValueError` if it does."""
    if features.record_bytes > MAX_RECORD_BYTES:
        raise ValueError(f"records of {list(features.shape)} exceed the limit of {MAX_RECORD_BYTES >> 20} MiB decoded")


def _check_sizes(manifest: Manifest) -> None:
    """Check what the schema cannot express, because these numbers decide later how much memory is allocated."""
    check_record_bytes(manifest.dataset.features)
    if isinstance(manifest.shards, ShardTable):
        rows = manifest.shards.rows
        crowded = rows["records"].astype(np.int64) * MIN_RECORD_BYTES > rows["bytes"]
        if crowded.any():
            raise ValueError(f"{manifest.shards[int(crowded.argmax())].name} cannot hold its records in its bytes")
        return
    for field, what in (("name", "name"), ("sha256", "SHA-256, so the same keys")):
        if len({getattr(shard, field) for shard in manifest.shards}) < len(manifest.shards):
            raise ValueError(f"two shards have the same {what}")
    for shard in manifest.shards:
        if shard.records * MIN_RECORD_BYTES > shard.bytes:
            raise ValueError(f"{shard.name} cannot hold {shard.records} records in {shard.bytes} bytes")


def _features(raw: Mapping[str, Any]) -> Features:
    mel = raw.get("mel")
    if mel is not None:
        mel = MelFeatures(tuple(mel["mean"]), tuple(mel["std"]), mel["voices"], MelParameters(**mel["parameters"]))
    return Features(**{**raw, "shape": tuple(raw["shape"]), "mel": mel})


@functools.cache
def _validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(Path(__file__).with_name("manifest.schema.json").read_text(encoding="utf-8"))
    base = jsonschema.Draft202012Validator
    # JSON Schema accepts 3.0 as an integer; a record count that is a float breaks later computations
    types = base.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    extend: Any = jsonschema.validators.extend  # its stub has no types
    validator: jsonschema.Draft202012Validator = extend(base, type_checker=types)(schema)
    return validator


def load_manifest(folder: Folder | Path | str) -> Manifest:
    """Read the manifest of a split, for example `sprites/train` or `s3://bucket/sprites/train`.

    Raises:
        ShardError: If it is missing, invalid or cannot be read; also `ValueError`, as `open_folder`.
    """
    folder = open_folder(folder)
    path = f"{folder}/{MANIFEST}"
    try:
        data = folder.get(MANIFEST, MAX_MANIFEST_BYTES + 1)
    except StorageError as error:
        raise ShardError(str(error)) from None
    except OSError as error:
        raise ShardError(f"{path}: cannot be read: {error.strerror}") from error
    if data is None:
        raise ShardError(f"{folder} has no {MANIFEST}: not a prepared split, or its preparation did not finish")
    if len(data) > MAX_MANIFEST_BYTES:
        raise ShardError(f"{path} is larger than {MAX_MANIFEST_BYTES >> 20} MiB: not a manifest")
    try:
        return Manifest.from_json(data.decode("utf-8"), lambda name: _read_table(folder, name))
    except ValueError as error:
        raise ShardError(f"{path}: {error}") from None


def _read_table(folder: Folder, name: str) -> bytes:
    data = folder.get(name, MAX_TABLE_BYTES + 1)
    if data is None:
        raise ValueError(f"its shards are in {name}, which is not there: copy it, too")
    return data
