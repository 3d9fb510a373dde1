"""Target: the folder that a preparation writes to, on disk or in object storage, and how it is resumed there."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from seqviews.pipeline.manifest import MAX_MANIFEST_BYTES, Manifest, Split, load_manifest
from seqviews.pipeline.prepare.card import croissant, dataset_card
from seqviews.pipeline.prepare.failures import FAILURES, Failure, failures_from_json, failures_to_json
from seqviews.pipeline.prepare.plan import PLAN, DatasetPlan
from seqviews.pipeline.shard_table import MAX_TABLE_BYTES, TABLE, ShardEntry, ShardTable
from seqviews.pipeline.storage.folder import MANIFEST, Folder

MAX_FAILURES_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class StoredShard:
    """A finished shard: its entry, the sources that are left out of it, and the part that wrote it, if known."""

    entry: ShardEntry
    failures: tuple[Failure, ...] = ()
    part: str = ""


@dataclass(frozen=True)
class Target:
    """A folder for the splits of the data set that a plan describes. It is sent to other processes, so it must pickle.

    Next to each shard is a record: its SHA-256, its numbers of records and of omitted sources, the plan and the
    part. On disk the record is a file until the split is complete, in object storage the object's metadata. By it a
    restart skips the shard. Any number of processes may write the same shards: on disk a shard is replaced by the same
    bytes, in object storage nothing is replaced.
    """

    out: Folder
    plan: DatasetPlan

    def claim(self) -> None:
        """Reserve the folder for the plan, which `plan.json` holds.

        Raises:
            FileExistsError: If the folder holds something else.
            OSError: If it cannot be written to.
        """
        if not self.out.has(PLAN):
            if self.out.is_empty():
                self.out.put(PLAN, self.plan.text.encode(), {})
            elif not self.out.has(PLAN):  # another process may have put it meanwhile
                raise FileExistsError(f"{self.out} already holds something: remove it or choose another --out")
        found = (self.out.get(PLAN, MAX_MANIFEST_BYTES) or b"").decode("utf-8", "replace")
        if found != self.plan.text:
            difference = _difference(found, json.loads(self.plan.text))
            raise FileExistsError(f"{self.out} holds another preparation: {difference}; choose another --out")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the claimed folder for the block: what killed processes left unfinished is removed.

        Raises:
            BlockingIOError: If it is on disk and another process does the same.
        """
        with self.out.lock(PLAN):
            self.out.remove_temporaries()
            try:
                yield
            finally:
                self.out.remove_temporaries()

    def finished(self, split: Split, name: str) -> StoredShard | None:
        """Return a shard by its record or, once a split is complete, its manifest; None if it is missing.

        Raises:
            FileExistsError: If the shard is of another plan.
        """
        folder = self.out / split
        found = folder.head(name)
        if found is None:
            return None
        if found.get("plan", self.plan.digest) != self.plan.digest:
            raise FileExistsError(f"{folder}/{name} is a shard of another preparation: remove it")
        digest, records = found.get("sha256", ""), found.get("records", "")
        if digest and records.isdecimal():
            entry = ShardEntry(name, int(records), int(found["size"]), digest)
            return StoredShard(entry, self._failures(entry, split, found.get("failures", "0")), found.get("part", ""))
        if split not in self._complete:
            return None
        # one that is in no manifest has no records
        known = self._complete[split].get(name, ShardEntry(name, 0, int(found["size"]), digest))
        failures = self._failures(known, split, "")
        return StoredShard(known, failures) if known.sha256 == digest else None

    def store(self, split: Split, shard: StoredShard, data: bytes, *, replace: bool = False) -> StoredShard:
        """Write a shard and its record, and return what is stored under its name.

        Of two processes that could not read different sources, what the first stores stays.

        Raises:
            FileExistsError: If object storage holds other bytes under its name, which are not to be replaced.
        """
        folder, entry = self.out / split, shard.entry
        before = self.finished(split, entry.name) if replace else None
        if before is not None and (before.entry, before.failures) != (entry, shard.failures):
            folder.remove(entry.name)
            folder.remove(_failures_name(before.entry))
        if shard.failures:
            folder.put(_failures_name(entry), failures_to_json(shard.failures), {})
        record = {
            "records": entry.records,
            "failures": len(shard.failures),
            "plan": self.plan.digest,
            "part": shard.part,
        }
        if folder.put(entry.name, data, {name: str(value) for name, value in record.items() if value != ""}):
            return shard
        there = self.finished(split, entry.name)
        if there is not None and there.entry == entry:
            return shard
        if there is None or not (there.failures or shard.failures):
            reason = "holds other bytes than this preparation makes: was it made by another version? Remove it"
            raise FileExistsError(f"{folder}/{entry.name} {reason}")
        if shard.failures:
            folder.remove(_failures_name(entry))
        return there

    def complete(self, split: Split, shards: Sequence[StoredShard], *, replace: bool = False) -> Manifest:
        """Write and return the manifest of a split whose shards are finished; write the list of what is left out.

        Raises:
            FileExistsError: If object storage holds another manifest, which is not to be replaced.
            ValueError: If the split has no record.
        """
        failures = [failure for shard in shards for failure in shard.failures]
        # one without records, as none of its sources has any or could be read, stays where it is, to be retried
        entries = [shard.entry for shard in shards if shard.entry.records]
        if not entries:
            reason = f"could be read; the first: {failures[0].reason}" if failures else "has a record"
            raise ValueError(f"no source of the split {split} {reason}")
        manifest = self.plan.manifest(split, entries, len(failures))
        folder, text = self.out / split, manifest.to_json()
        table = manifest.shards.data if isinstance(manifest.shards, ShardTable) else b""
        Manifest.from_json(text, lambda name: table)  # an unreadable manifest must not be written
        self.list_failures(split, failures)
        if table and not folder.put(TABLE, table, {}) and folder.get(TABLE, MAX_TABLE_BYTES) != table:
            folder.remove(TABLE)  # from before a retry
            folder.put(TABLE, table, {})
        if not folder.put(MANIFEST, text.encode(), {}) and folder.get(MANIFEST, MAX_MANIFEST_BYTES) != text.encode():
            if not replace:
                raise FileExistsError(f"{folder}/{MANIFEST} is of another preparation: choose another --out")
            folder.remove(MANIFEST)
            folder.put(MANIFEST, text.encode(), {})
        folder.remove_receipts()
        return manifest

    def describe(self, manifests: Mapping[Split, Manifest]) -> None:
        """Write the card of a complete data set and its `croissant.json`."""
        for name, text in {"README.md": dataset_card(manifests), "croissant.json": croissant(manifests)}.items():
            if not self.out.put(name, text.encode(), {}) and self.out.get(name, MAX_MANIFEST_BYTES) != text.encode():
                self.out.remove(name)  # from before a retry
                self.out.put(name, text.encode(), {})

    def list_failures(self, split: Split, failures: Sequence[Failure]) -> None:
        """Write the list of what is left out of a split; without failures there is no such file."""
        folder, data = self.out / split, failures_to_json(failures)
        found = folder.get(FAILURES, MAX_FAILURES_BYTES)
        if found is not None and (not failures or found != data):
            folder.remove(FAILURES)
        if failures:
            folder.put(FAILURES, data, {})

    def _failures(self, entry: ShardEntry, split: Split, count: str) -> tuple[Failure, ...]:
        """Read what is left out of a shard; the count of an unknown number is empty."""
        if count == "0":
            return ()
        folder, name = self.out / split, _failures_name(entry)
        data = folder.get(name, MAX_FAILURES_BYTES)
        return () if data is None else failures_from_json(data, f"{folder}/{name}")

    @cached_property
    def _complete(self) -> dict[Split, dict[str, ShardEntry]]:
        """The shards of the splits that were complete when this was first asked."""
        folders = {split: self.out / split for split in self.plan.counts}
        return {
            split: {entry.name: entry for entry in load_manifest(folder).shards}
            for split, folder in folders.items()
            if folder.has(MANIFEST)
        }


def _failures_name(entry: ShardEntry) -> str:
    """Return the name of the list of what is left out of a shard: two writers may have left out different sources."""
    return f"{entry.name.removesuffix('.tar')}.{entry.sha256[:12]}.{FAILURES}"


def _difference(found: str, claim: Mapping[str, Any]) -> str:
    """Describe briefly where the text of a `plan.json` differs from the plan of this call."""
    try:
        there, here = _leaves(json.loads(found)), _leaves(claim)
    except (ValueError, RecursionError):
        return f"its {PLAN} is damaged"
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    parts = [f"{name} is {_short(there, name)}, not {_short(here, name)}" for name in names[:3]]
    return "; ".join(parts) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")


def _short(leaves: Mapping[str, Any], name: str) -> str:
    text = str(leaves.get(name, "missing"))
    return text if len(text) <= 80 else text[:80] + "..."


def _leaves(tree: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {name: tree}
    below = (_leaves(value, f"{name}.{key}".strip(".")) for key, value in tree.items())
    return {path: leaf for leaves in below for path, leaf in leaves.items()}
