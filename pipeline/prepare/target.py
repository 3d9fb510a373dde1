"""Target: where a preparation writes, a folder or a prefix in object storage, and how it goes on there."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from seqviews.pipeline.manifest import MAX_MANIFEST_BYTES, ShardEntry, Split, load_manifest
from seqviews.pipeline.shards.shard import write_atomically
from seqviews.pipeline.storage.folder import MANIFEST, Folder, LocalFolder, open_folder

if TYPE_CHECKING:
    from seqviews.pipeline.storage.bucket import Bucket

PLAN = "plan.json"


class Target(Protocol):
    """Where a preparation writes. It is sent to other processes, so it must pickle."""

    def claimed(self, claim: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Hold it for one preparation: `plan.json` says which."""

    def finished(self, split: Split, name: str) -> ShardEntry | None:
        """What a shard holds if it is there and whole, else None."""

    def store(self, split: Split, entry: ShardEntry, data: bytes) -> None:
        """Write a shard, whole or not at all."""

    def complete(self, split: Split, manifest: str) -> None:
        """Write the manifest of a split whose shards are all there."""


def target_at(url: Folder | Path | str) -> Target:
    """The target that a path or a URL names.

    Raises:
        ValueError: As `open_folder`, and for a URL that cannot be written to.
    """
    folder = open_folder(url)
    if isinstance(folder, LocalFolder):
        return LocalTarget(folder.path)
    from seqviews.pipeline.storage.bucket import Bucket  # obstore is an extra

    assert isinstance(folder, Bucket)
    if folder.root.startswith("http"):
        raise ValueError(f"{folder} can only be read: give a folder, or an s3, gs or az URL")
    return BucketTarget(folder.for_writing())


@dataclass(frozen=True, slots=True)
class LocalTarget:
    """A folder: locked while it is written, each shard with a receipt until the manifest says what it holds."""

    out: Path

    @contextmanager
    def claimed(self, claim: Mapping[str, Any]) -> Iterator[None]:
        """Hold the folder for this call alone: `plan.json` says what is written there, its lock that it is being done.

        A lock ends with its process, however that ends.

        Raises:
            FileExistsError: If the folder holds something else.
            BlockingIOError: If another process is writing to it.
        """
        out, text, path = self.out, json.dumps(claim, indent=1) + "\n", self.out / PLAN
        if not path.is_file():
            if out.exists() and (not out.is_dir() or any(not p.name.startswith(f".{PLAN}.") for p in out.iterdir())):
                raise FileExistsError(f"{out} already holds something: remove it or choose another --out")
            out.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text.encode())
        with path.open("rb") as plan:
            try:
                fcntl.flock(plan, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BlockingIOError(f"another preparation is writing to {out}: wait until it has ended") from None
            _check_plan(self.out, plan.read(), text)
            _remove_temporaries(out)
            try:
                yield
            finally:
                _remove_temporaries(out)

    def finished(self, split: Split, name: str) -> ShardEntry | None:
        """What a shard holds if it is there as its receipt or the manifest says, else None."""
        folder = self.out / split
        shard, receipt = folder / name, self._receipt(split, name)
        if not shard.is_file():
            return None
        if receipt.is_file():
            entry = ShardEntry(**json.loads(receipt.read_bytes()))
        elif (folder / MANIFEST).is_file():
            entry = {entry.name: entry for entry in load_manifest(folder).shards}[name]
        else:
            return None
        return entry if sha256(shard.read_bytes()).hexdigest() == entry.sha256 else None

    def store(self, split: Split, entry: ShardEntry, data: bytes) -> None:
        """Write a shard; its receipt comes first, so that a finished shard is known to be whole."""
        (self.out / split).mkdir(exist_ok=True)
        write_atomically(self._receipt(split, entry.name), json.dumps(asdict(entry)).encode())
        write_atomically(self.out / split / entry.name, data)

    def complete(self, split: Split, manifest: str) -> None:
        """Write the manifest, unless it is there, and remove the receipts."""
        path = self.out / split / MANIFEST
        path.parent.mkdir(exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != manifest:
            write_atomically(path, manifest.encode())
        for receipt in path.parent.glob(".*.tar.json"):
            receipt.unlink()

    def _receipt(self, split: Split, name: str) -> Path:
        """The file that says what a finished shard holds, until the manifest does."""
        return self.out / split / f".{name}.json"


@dataclass(frozen=True, slots=True)
class BucketTarget:
    """A prefix in object storage: nothing there is ever replaced, so any number of the same preparation may write.

    A shard is one conditional put, so it is there whole or not at all, with its SHA-256 and record count as metadata.
    """

    out: Bucket

    @contextmanager
    def claimed(self, claim: Mapping[str, Any]) -> Iterator[None]:
        """Claim the prefix for this preparation, and for others of the same.

        Raises:
            FileExistsError: If something else is there.
            StorageError: If it cannot be claimed.
        """
        text = json.dumps(claim, indent=1) + "\n"
        if not self.out.is_empty() and not self.out.has(PLAN):
            raise FileExistsError(f"{self.out} already holds something: remove it or choose another --out")
        self.out.put(PLAN, text.encode(), {})
        _check_plan(self.out, self.out.get(PLAN, MAX_MANIFEST_BYTES) or b"", text)
        yield

    def finished(self, split: Split, name: str) -> ShardEntry | None:
        """What a shard holds if it is there, by its metadata, else None."""
        about = (self.out / split).about(name)
        if about is None:
            return None
        try:
            return ShardEntry(name, int(about["records"]), int(about["size"]), about["sha256"])
        except (KeyError, ValueError):
            raise FileExistsError(f"{self.out}/{split}/{name} is not of this preparation: remove it") from None

    def store(self, split: Split, entry: ShardEntry, data: bytes) -> None:
        """Write a shard, unless another preparation was faster, whose bytes must be the same.

        Raises:
            FileExistsError: If they are not.
            StorageError: If it cannot be written.
        """
        if not (self.out / split).put(entry.name, data, {"records": str(entry.records)}):
            found = self.finished(split, entry.name)
            if found != entry:
                told = "holds other bytes than this preparation makes"
                raise FileExistsError(f"{self.out}/{split}/{entry.name} {told}: were both made by the same versions?")

    def complete(self, split: Split, manifest: str) -> None:
        """Write the manifest, unless it is there.

        Raises:
            FileExistsError: If another one is.
            StorageError: If it cannot be written.
        """
        folder, data = self.out / split, manifest.encode()
        if not folder.put(MANIFEST, data, {}) and folder.get(MANIFEST, MAX_MANIFEST_BYTES) != data:
            raise FileExistsError(f"{folder}/{MANIFEST} is of another preparation: choose another --out")


def _remove_temporaries(out: Path) -> None:
    """Remove what processes that were killed left half-written; see `write_atomically` for the names."""
    for path in out.rglob(".*"):
        if path.suffix[1:].isdigit():
            path.unlink(missing_ok=True)


def _check_plan(out: Path | Bucket, plan: bytes, text: str) -> None:
    """Refuse a `plan.json` that is of another preparation than the one of `text`."""
    found = plan.decode("utf-8", "replace")
    if found != text:
        told = _difference(found, json.loads(text))
        raise FileExistsError(f"{out} holds another preparation: {told}; choose another --out")


def _difference(found: str, claim: Mapping[str, Any]) -> str:
    """Where the text of a `plan.json` differs from this call's, in a few words."""
    try:
        there, here = _leaves(json.loads(found)), _leaves(claim)
    except (ValueError, RecursionError):
        return f"its {PLAN} is damaged"
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    told = [f"{name} is {there.get(name, 'not there')}, not {here.get(name, 'there')}" for name in names[:3]]
    return "; ".join(told) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")


def _leaves(tree: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {name: tree}
    return {
        path: leaf for key, value in tree.items() for path, leaf in _leaves(value, f"{name}.{key}".strip(".")).items()
    }
