"""The table of the shards of a large split: the same entries as a list, in a compact file that is checked."""

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_clips import ToyClips, digests

from seqviews.pipeline import RecordSet, SequenceStream
from seqviews.pipeline.manifest import Manifest, load_manifest
from seqviews.pipeline.prepare import plan
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.records import ShardError
from seqviews.pipeline.shard_table import ShardEntry, ShardNumbers, ShardTable


@pytest.fixture
def tabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toy data set with a table wherever a split has more than three shards, which train has."""
    monkeypatch.setattr(plan, "MAX_LISTED_SHARDS", 3)
    prepare(ToyClips(), tmp_path / "tabled", shard_sources=2)
    return tmp_path / "tabled"


def test_a_table_holds_what_a_list_does(tabled: Path, toy: Path) -> None:
    listed, found = load_manifest(toy / "train"), load_manifest(tabled / "train")
    assert list(found.shards) == list(listed.shards)
    assert (len(found), found.schema_version, listed.schema_version) == (len(listed), 2, 1)
    assert {name for name in digests(tabled) if name.endswith(".npy")} == {"train/shards.npy"}
    rows = np.load(tabled / "train" / "shards.npy")
    assert rows["records"].tolist() == [shard.records for shard in listed.shards]
    raw = json.loads((tabled / "train" / "manifest.json").read_text())
    data = (tabled / "train" / "shards.npy").read_bytes()
    assert raw["shards"] == {"file": "shards.npy", "sha256": hashlib.sha256(data).hexdigest()}
    for a, b in zip(SequenceStream(tabled / "train", 5), SequenceStream(toy / "train", 5), strict=True):
        assert (a.keys, a.indices.tolist()) == (b.keys, b.indices.tolist())
    few, same = (RecordSet(data / "train", lambda factors: factors["shade"] == 0) for data in (tabled, toy))
    assert few.counts == same.counts
    before = digests(tabled)
    prepare(ToyClips(), tabled, shard_sources=2)
    assert digests(tabled) == before


def test_shards_are_found_by_their_sha256() -> None:
    """As by a dictionary, also those of which the first half is the same."""
    ends = np.random.default_rng(0).integers(0, 256, (200, 16), np.uint8)
    digits = [
        ("ab" * 16 if k % 3 == 0 else hashlib.md5(bytes([k])).hexdigest()) + ends[k].tobytes().hex() for k in range(200)
    ]
    entries = [ShardEntry(f"train-{k:06d}.tar", 1, 2048, sha256) for k, sha256 in enumerate(digits)]
    expected = {sha256: number for number, sha256 in enumerate(digits)}
    asked = [*digits, "ab" * 32, "0" * 64, "f" * 64, "", "lock", "-1"]
    for shards in (entries, ShardTable.of("train", entries)):
        numbers = ShardNumbers(shards)
        assert [numbers.find(sha256) for sha256 in asked] == [expected.get(sha256) for sha256 in asked]


def _without(column: str) -> Callable[[Any], Any]:
    return lambda rows: rows[[name for name in rows.dtype.names if name != column]].copy()


def _changed(column: str, value: int) -> Callable[[Any], Any]:
    def change(rows: Any) -> Any:
        rows = rows.copy()
        rows[column][1] = value
        return rows

    return change


def _repeated(rows: Any) -> Any:
    rows = rows.copy()
    rows["sha256"][1] = rows["sha256"][0]
    return rows


MISTAKES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "empty": (lambda rows: rows[:0], "is not a table of 1 to"),
    "columns": (_without("sha256"), "is not a table of 1 to"),
    "no records": (_changed("records", 0), "a shard has fewer than 1 or more than 131072 records"),
    "large": (_changed("bytes", 1 << 30), "a shard has fewer than 1024 or more than 268435456 bytes"),
    "crowded": (_changed("records", 1000), r"train-000001\.tar cannot hold its records in its bytes"),
    "twice": (_changed("number", 0), "two shards have the same name, or they are not sorted"),
    "same contents": (_repeated, "two shards have the same SHA-256"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_false_table_is_an_error(tabled: Path, name: str) -> None:
    change, message = MISTAKES[name]
    path, manifest = tabled / "train" / "shards.npy", tabled / "train" / "manifest.json"
    buffer = io.BytesIO()
    np.save(buffer, change(np.load(path)))
    path.write_bytes(buffer.getvalue())
    raw = json.loads(manifest.read_text())
    raw["shards"]["sha256"] = hashlib.sha256(buffer.getvalue()).hexdigest()
    manifest.write_text(json.dumps(raw))
    with pytest.raises(ShardError, match=message):
        load_manifest(tabled / "train")


def test_a_lost_or_damaged_table_is_named(tabled: Path) -> None:
    path = tabled / "train" / "shards.npy"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ShardError, match=r"the SHA-256 of shards\.npy is not the manifest's"):
        load_manifest(tabled / "train")
    path.unlink()
    with pytest.raises(ShardError, match=r"its shards are in shards\.npy, which is not there"):
        load_manifest(tabled / "train")
    with pytest.raises(ValueError, match="which is not here"):
        Manifest.from_json((tabled / "train" / "manifest.json").read_text())


def test_names_of_another_kind_have_no_table(toy: Path) -> None:
    entries = load_manifest(toy / "train").shards
    for name in ("other-000001.tar", "train-1.tar", "train-x.tar"):
        with pytest.raises(ValueError, match=f"the shard {name} is not called train-NUMBER.tar"):
            ShardTable.of("train", [replace(entries[0], name=name)])
