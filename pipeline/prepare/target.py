"""Target: the folder that a preparation writes to, on disk or in object storage, and how it is resumed there."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from seqviews.pipeline.manifest import MAX_MANIFEST_BYTES, ShardEntry, Split, load_manifest
from seqviews.pipeline.shards.strict_json import plain
from seqviews.pipeline.storage.folder import MANIFEST, Folder

PLAN = "plan.json"


@dataclass(frozen=True, slots=True)
class Target:
    """A folder for the splits of one data set. It is sent to other processes, so it must pickle.

    On disk one process writes at a time. Into object storage any number may write the same data set, as nothing is ever
    replaced. Each shard has its SHA-256 and record count as metadata, by which a restart skips it.
    """

    out: Folder

    @contextmanager
    def claimed(self, claim: Mapping[str, Any]) -> Iterator[None]:
        """Reserve the folder for the preparation that `claim` describes: `plan.json` holds the claim.

        Raises:
            FileExistsError: If the folder holds something else.
            BlockingIOError: If it is on disk and another process is writing to it.
            OSError: If it cannot be written to.
        """
        text = json.dumps(claim, indent=1, default=plain) + "\n"
        if not self.out.has(PLAN):
            if self.out.is_empty():
                self.out.put(PLAN, text.encode(), {})
            elif not self.out.has(PLAN):  # another process may have put it meanwhile
                raise FileExistsError(f"{self.out} already holds something: remove it or choose another --out")
        with self.out.lock(PLAN):
            found = (self.out.get(PLAN, MAX_MANIFEST_BYTES) or b"").decode("utf-8", "replace")
            if found != text:
                difference = _difference(found, json.loads(text))
                raise FileExistsError(f"{self.out} holds another preparation: {difference}; choose another --out")
            self.out.remove_temporaries()
            try:
                yield
            finally:
                self.out.remove_temporaries()

    def finished(self, split: Split, name: str) -> ShardEntry | None:
        """Return the entry of a shard by its metadata or, once a split is complete, its manifest; None if missing."""
        folder = self.out / split
        found = folder.head(name)
        if found is None:
            return None
        digest, records = found.get("sha256", ""), found.get("records", "")
        if digest and records.isdecimal():
            return ShardEntry(name, int(records), int(found["size"]), digest)
        entries = load_manifest(folder).shards if folder.has(MANIFEST) else ()
        return next((entry for entry in entries if (entry.name, entry.sha256) == (name, digest)), None)

    def store(self, split: Split, entry: ShardEntry, data: bytes) -> None:
        """Write a shard. Raises `FileExistsError` if object storage holds other bytes under its name."""
        folder = self.out / split
        stored = folder.put(entry.name, data, {"records": str(entry.records)})
        if not stored and self.finished(split, entry.name) != entry:
            reason = "holds other bytes than this preparation makes: was it made by another version? Remove it"
            raise FileExistsError(f"{folder}/{entry.name} {reason}")

    def complete(self, split: Split, manifest: str) -> None:
        """Write the manifest of a finished split. Raises `FileExistsError` if object storage holds another one."""
        folder, data = self.out / split, manifest.encode()
        if not folder.put(MANIFEST, data, {}) and folder.get(MANIFEST, MAX_MANIFEST_BYTES) != data:
            raise FileExistsError(f"{folder}/{MANIFEST} is of another preparation: choose another --out")
        folder.remove_receipts()


def _difference(found: str, claim: Mapping[str, Any]) -> str:
    """Describe briefly where the text of a `plan.json` differs from the claim of this call."""
    try:
        there, here = _leaves(json.loads(found)), _leaves(claim)
    except (ValueError, RecursionError):
        return f"its {PLAN} is damaged"
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    parts = [f"{name} is {there.get(name, 'missing')}, not {here.get(name, 'missing')}" for name in names[:3]]
    return "; ".join(parts) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")


def _leaves(tree: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {name: tree}
    below = (_leaves(value, f"{name}.{key}".strip(".")) for key, value in tree.items())
    return {path: leaf for leaves in below for path, leaf in leaves.items()}
