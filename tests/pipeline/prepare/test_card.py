"""The data set card and croissant.json describe what the manifests do, and the Hub's reader follows the card."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from seqviews.pipeline.manifest import load_manifest
from seqviews.pipeline.prepare.card import dataset_card


def head(data: Path) -> dict[str, Any]:
    _, text, _ = (data / "README.md").read_text().split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_the_head_of_the_card(toy: Path, speech: Path) -> None:
    assert head(toy)["license"] == "cc0-1.0"
    assert head(toy)["size_categories"] == ["n<1K"]
    assert head(speech)["tags"] == ["webdataset", "audio"]
    manifest = load_manifest(toy / "train")
    own = dataset_card({"train": replace(manifest, dataset=replace(manifest.dataset, licence='"mine": no'))})
    assert yaml.safe_load(own.split("---\n")[1])["license_name"] == '"mine": no'
    assert [(row["split"], row["path"]) for row in head(toy)["configs"][0]["data_files"]] == [
        ("train", "train/*.tar"),
        ("validation", "val/*.tar"),
        ("test", "test/*.tar"),
    ]
    for split in ("train", "val", "test"):
        manifest = load_manifest(toy / split)
        total = sum(shard.bytes for shard in manifest.shards)
        assert f"| {split} | {len(manifest)} | {len(manifest.shards)} | {total} |" in (toy / "README.md").read_text()


def test_datasets_follows_the_card(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    loaded = datasets.load_dataset(str(toy), streaming=True, cache_dir=str(tmp_path))
    counts = {split: len([row["__key__"] for row in rows.decode(False)]) for split, rows in loaded.items()}
    assert counts == {"train": 36, "validation": 9, "test": 9}


def test_croissant_lists_files_and_fields(toy: Path) -> None:
    found = json.loads((toy / "croissant.json").read_text())
    assert (found["name"], found["license"], found["conformsTo"]) == (
        "toy",
        "CC0-1.0",
        "http://mlcommons.org/croissant/1.0",
    )
    files = {part["@id"]: part for part in found["distribution"] if part["@type"] == "cr:FileObject"}
    assert sorted(files) == sorted(str(path.relative_to(toy)) for path in toy.rglob("*.tar"))
    for name, part in files.items():
        assert part["sha256"] == hashlib.sha256((toy / part["contentUrl"]).read_bytes()).hexdigest(), name
    sets = {part["@id"]: part for part in found["distribution"] if part["@type"] == "cr:FileSet"}
    assert [part["@id"] for part in sets["val-records"]["containedIn"]] == ["val/val-000000.tar", "val/val-000001.tar"]
    fields = {field["name"]: field for field in found["recordSet"][0]["field"]}
    assert list(fields) == ["key", "json"]
    assert fields["json"]["description"].endswith("and of factors shade, path")
    assert all(field["source"]["fileSet"]["@id"] in sets for record in found["recordSet"] for field in record["field"])
