"""Manifests: round trips, and errors that locate every mistake."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from seqviews.pipeline import manifest as manifest_module
from seqviews.pipeline.manifest import Manifest, load_manifest
from seqviews.pipeline.records import ShardError


def test_round_trip(toy: Path) -> None:
    manifest = load_manifest(toy / "train")
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert (toy / "train" / "manifest.json").read_text() == manifest.to_json()
    assert (len(manifest), manifest.factors) == (36, {"shade": ["dark", "light"], "path": None})
    assert manifest.digest != load_manifest(toy / "val").digest


def test_the_published_schema_is_the_one_in_use(toy: Path) -> None:
    published = Path(__file__).parents[2] / "docs" / "manifest.schema.json"
    schema = json.loads(published.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    raw = json.loads((toy / "train" / "manifest.json").read_text())
    assert validator.is_valid(raw)
    assert not validator.is_valid({**raw, "split": "dev"})
    in_use = Path(manifest_module.__file__).with_name("manifest.schema.json")
    assert json.loads(in_use.read_text()) == schema


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "newer": (lambda m: m.update(schema_version=3), r"by seqviews \d\S+ with schema version 3, this .* reads 2: up"),
    "newer, other": (lambda m: m.update(schema_version=3, encoders=None), "written by a newer seqviews with schema"),
    "too new": (lambda m: m.update(schema_version=2), "schema version 2, its features are of 1"),
    "too old": (lambda m: m["dataset"]["features"].update(page_frames=2), "schema version 1, its features are of 2"),
    "no quality": (lambda m: m["dataset"]["features"].update(codec="jpeg"), "jpeg is lossy: give it a quality"),
    "quality": (lambda m: m["dataset"]["features"].update(quality=101), r"features\.quality"),
    "shorter": (lambda m: m["dataset"]["features"].update(min_frames=4), "records of 4 to 4 frames"),
    "float": (lambda m: m["shards"][0].update(records=9.0), r"shards\[0\]\.records: 9\.0 is not of type 'integer'"),
    "newline": (lambda m: m["shards"][0].update(name="x.tar\n"), r"shards\[0\]\.name"),
    "crowded": (lambda m: m["shards"][0].update(records=1000), "cannot hold 1000 records in"),
    "large": (lambda m: m["dataset"]["features"].update(shape=[90, 1024, 1024, 3]), "limit of 256 MiB decoded"),
    "not finite": (lambda m: m["parameters"].update(x=float("nan")), "NaN is not a number"),
    "deep": (lambda m: m["parameters"].update(x=json.loads("[" * 40 + "]" * 40)), "at most 32 levels"),
    "long": (lambda m: m.update(shards=m["shards"] * 10_001), r"at \$\.shards: \.\.\..*is too long"),
    "missing": (lambda m: m.pop("shards"), "'shards' is a required property"),
    "unknown": (lambda m: m.update(extra=1), "extra"),
    "path": (lambda m: m["shards"][0].update(name="../x.tar"), r"shards\[0\]\.name"),
    "huge": (lambda m: m["dataset"]["features"].update(shape=[8, 1 << 20, 64, 3]), r"features\.shape"),
    "negative": (lambda m: m["shards"][0].update(records=-1), r"shards\[0\]\.records"),
    "twice": (lambda m: m["shards"].append(m["shards"][0]), "two shards have the same name"),
    "renamed": (
        lambda m: m["shards"].append({**m["shards"][0], "name": "train-000099.tar"}),
        "two shards have the same SHA-256",
    ),
    "dtype": (lambda m: m["dataset"]["features"].update(dtype="object"), r"features\.dtype"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_mistakes_are_located(toy: Path, tmp_path: Path, name: str) -> None:
    change, message = CHANGES[name]
    raw = json.loads((toy / "val" / "manifest.json").read_text())
    change(raw)
    (tmp_path / "manifest.json").write_text(json.dumps(raw))
    with pytest.raises(ShardError, match=message):
        load_manifest(tmp_path)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"[" * 100_000, b'"\\ud800"', b"\xff\xfe"])
def test_other_files_named_manifest(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(text)
    with pytest.raises(ShardError, match=r"manifest\.json"):
        load_manifest(tmp_path)
