"""Manifest: the contents of a split, shard by shard."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jsonschema

from seqviews.pipeline.records import ShardError
from seqviews.pipeline.shards.strict_json import parse_object, plain
from seqviews.pipeline.storage.folder import MANIFEST, Folder, StorageError
from seqviews.pipeline.storage.urls import open_folder

SCHEMA_VERSION = 1
MAX_MANIFEST_BYTES = 4 << 20  # 20,000 shards, the schema's limit, are 3.2 MB
MAX_RECORD_BYTES = 256 << 20  # decoded
MIN_RECORD_BYTES = 4 * 512  # in a tar: two members, each a header and at least a block
Codec: TypeAlias = Literal["webp", "png", "npy"]
Split: TypeAlias = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class MelParameters:
    """How log-mel frames are computed: lengths in samples, frequencies in hertz, the floor a power."""

    sample_rate: int = 16_000
    n_fft: int = 512
    win_length: int = 400
    hop_length: int = 160
    n_mels: int = 80
    f_min: float = 0.0
    f_max: float = 8000.0
    norm: Literal["slaney"] = "slaney"
    floor: float = 1e-10


@dataclass(frozen=True, slots=True)
class MelFeatures:
    """What the segments of a data set have in common besides their shape.

    Attributes:
        mean, std: Mean and standard deviation of each log-mel over the training split; 0 for a constant mel.
        voices: K, the number of other voices that each segment is stored in.
        parameters: How the frames were computed.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    voices: int = 0
    parameters: MelParameters = MelParameters()


@dataclass(frozen=True, slots=True)
class Features:
    """The shape and type of every record's sequence; `for_segments` fills in what all segments share.

    Attributes:
        shape: `[T, H, W, C]` of a clip, `[T, n_mels]` of a segment.
        dtype, codec: Type of the values, and how they are stored.
        rate: Frames per second.
        mel: More about segments; None if the records are clips.

    Raises:
        ValueError: If the attributes contradict each other.
    """

    shape: tuple[int, ...]
    dtype: Literal["uint8", "float32"] = "uint8"
    rate: float | None = None
    codec: Codec = "webp"
    mel: MelFeatures | None = None

    def __post_init__(self) -> None:
        if self.mel is None:
            if len(self.shape) != 4 or self.dtype != "uint8":
                raise ValueError(f"features of clips are {self.dtype} {list(self.shape)}, not uint8 [T, H, W, C]")
            return
        n_mels = self.mel.parameters.n_mels
        if len(self.shape) != 2 or self.shape[1] != n_mels or self.dtype != "float32" or self.codec != "npy":
            found = f"{self.dtype} {list(self.shape)} as {self.codec}"
            raise ValueError(f"features of segments are {found}, not float32 [T, {n_mels}] as npy")
        if not len(self.mel.mean) == len(self.mel.std) == n_mels or self.mel.voices < 0:
            raise ValueError(f"features of segments need mean and std of {n_mels} mels, and 0 or more voices")
        if not all(map(math.isfinite, self.mel.mean + self.mel.std)) or min(self.mel.std) < 0:
            raise ValueError("features of segments need a finite mean and std of each mel")

    @property
    def converted_shape(self) -> tuple[int, ...] | None:
        """`[K, T, n_mels]`, the float16 shape of a segment in other voices; None if there are none."""
        return None if self.mel is None or not self.mel.voices else (self.mel.voices, *self.shape)

    @property
    def record_bytes(self) -> int:
        """Size of a decoded record in bytes."""
        return math.prod(self.shape) * (1 if self.mel is None else 4 + 2 * self.mel.voices)

    @classmethod
    def for_segments(cls, frames: int, mel: MelFeatures) -> Features:
        """Return the features of segments of `frames` frames.

        >>> Features.for_segments(20, MelFeatures(mean=(0.0,) * 80, std=(1.0,) * 80, voices=4)).converted_shape
        (4, 20, 80)
        """
        rate = mel.parameters.sample_rate / mel.parameters.hop_length
        return cls((frames, mel.parameters.n_mels), "float32", rate, "npy", mel)


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


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One tar: its file name, number of records and bytes, and SHA-256."""

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
        """Return the number of records in the split."""
        return sum(shard.records for shard in self.shards)

    @property
    def factors(self) -> dict[str, list[str] | None]:
        """All factors, static first: class names, or None for a trajectory."""
        return {**self.dataset.static, **self.dataset.dynamic}

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, which holds those of the shards: equal digests mean equal records."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Return the text of `manifest.json`."""
        raw = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        raw["dataset"]["modality"] = self.dataset.modality
        if self.dataset.features.mel is None:
            del raw["dataset"]["features"]["mel"]
        return json.dumps(raw, indent=1, default=plain) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Parse and check the text of a `manifest.json`.

        Raises:
            ValueError: If it is not JSON, has a newer schema version, or violates the schema.
        """
        raw = parse_object(text)
        _check_version(raw)
        mistake = jsonschema.exceptions.best_match(islice(_validator().iter_errors(raw), 100))
        if mistake is not None:
            text = mistake.message  # the value, which may be long, then the reason
            raise ValueError(f"at {mistake.json_path}: {text if len(text) <= 200 else '...' + text[-200:]}")
        dataset = {**raw["dataset"], "features": _features(raw["dataset"]["features"])}
        del dataset["modality"]
        shards = tuple(ShardEntry(**shard) for shard in raw["shards"])
        manifest = cls(raw["split"], DatasetInfo(**dataset), raw["parameters"], raw["encoders"], shards)
        _check_sizes(manifest)
        return manifest


def _check_version(raw: Mapping[str, Any]) -> None:
    schema = raw.get("schema_version")
    if isinstance(schema, int) and schema > SCHEMA_VERSION:
        encoders = raw.get("encoders")
        writer = encoders.get("seqviews") if isinstance(encoders, dict) else None
        needed = f"seqviews {writer[:20]}" if isinstance(writer, str) else "a newer seqviews"
        versions = f"schema version {schema}, this seqviews reads {SCHEMA_VERSION}"
        raise ValueError(f"written by {needed} with {versions}: upgrade it, pip install -U seqviews")


def _check_sizes(manifest: Manifest) -> None:
    """Check what the schema cannot express, because these numbers decide later how much memory is allocated."""
    for field, what in (("name", "name"), ("sha256", "SHA-256, so the same keys")):
        if len({getattr(shard, field) for shard in manifest.shards}) < len(manifest.shards):
            raise ValueError(f"two shards have the same {what}")
    shape = manifest.dataset.features.shape
    if manifest.dataset.features.record_bytes > MAX_RECORD_BYTES:
        raise ValueError(f"records of {list(shape)} exceed the limit of {MAX_RECORD_BYTES >> 20} MiB decoded")
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
        return Manifest.from_json(data.decode("utf-8"))
    except ValueError as error:
        raise ShardError(f"{path}: {error}") from None
