"""Other people's readers read our shards in a bucket over presigned URLs."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from object_storage import Storage
from toy_clips import ToyClips

from seqviews.pipeline.prepare import prepare


@pytest.fixture
def urls(storage: Storage) -> list[str]:
    """Of six shards."""
    prepare(ToyClips(), storage.url, shard_sources=2)
    folder = storage.folder()
    paths = [f"{folder.prefix}/{name}" for name in sorted(storage.objects()) if "train/" in name and ".tar" in name]
    return [obstore.sign(folder.store, "GET", path, timedelta(hours=1)) for path in paths]


def of_folder(toy: Path) -> dict[str, str]:
    import webdataset

    rows = webdataset.WebDataset([str(tar) for tar in sorted((toy / "train").glob("*.tar"))], shardshuffle=False)
    return {row["__key__"]: digest(row["frames.webp"]) + row["json"].decode() for row in rows}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_webdataset(urls: list[str], toy: Path) -> None:
    import webdataset

    rows = webdataset.WebDataset([f"pipe:curl -s -f '{url}'" for url in urls], shardshuffle=False)
    assert {row["__key__"]: digest(row["frames.webp"]) + row["json"].decode() for row in rows} == of_folder(toy)


def test_datasets(urls: list[str], toy: Path) -> None:
    import datasets

    rows = datasets.load_dataset("webdataset", data_files={"train": urls}, split="train", streaming=True)
    rows = rows.cast_column("frames.webp", datasets.Image(decode=False))
    found = {row["__key__"]: (digest(row["frames.webp"]["bytes"]), row["json"]) for row in rows}
    expected = {key: (told[:64], json.loads(told[64:])) for key, told in of_folder(toy).items()}
    assert found == expected
