"""ShardTable: the shards of a large split as arrays, and the compact file that holds them beside `manifest.json`."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

TABLE = "shards.npy"
MAX_SHARDS = 10_000_000
MAX_SHARD_RECORDS, MIN_SHARD_BYTES, MAX_SHARD_BYTES = 131_072, 1024, 256 << 20
COLUMNS = np.dtype([("number", "<u4"), ("records", "<u4"), ("bytes", "<u4"), ("sha256", "V32")])
MAX_TABLE_BYTES = MAX_SHARDS * COLUMNS.itemsize + 1024


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One tar: its file name, number of records and bytes, and SHA-256."""

    name: str
    records: int
    bytes: int
    sha256: str


@dataclass(frozen=True, eq=False)
class ShardTable(Sequence[ShardEntry]):
    """The shards of a split as rows of 44 bytes, which become entries when they are asked for.

    Attributes:
        split: Their names are `split-number.tar`, with at least six digits.
        rows: The columns `number`, `records`, `bytes` and `sha256`, sorted by number.

    Example:
        >>> entries = [ShardEntry(f"train-{k:06d}.tar", 5, 20480, f"{k:064x}") for k in range(3)]
        >>> table = ShardTable.of("train", entries)
        >>> len(table), table[1] == entries[1], int(table.rows["records"].sum())
        (3, True, 15)
    """

    split: str
    rows: NDArray[np.void]

    @classmethod
    def of(cls, split: str, entries: Iterable[ShardEntry]) -> ShardTable:
        """Return the table of entries. Raises `ValueError` if one has a name of another kind."""
        start, stop = len(split) + 1, -len(".tar")
        found = [(e.name[start:stop], e.records, e.bytes, bytes.fromhex(e.sha256), e.name) for e in entries]
        rows = np.empty(len(found), COLUMNS)
        for row, (number, records, size, sha256, name) in zip(rows, found, strict=True):
            if not number.isdecimal() or name != f"{split}-{int(number):06d}.tar":
                raise ValueError(f"the shard {name} is not called {split}-NUMBER.tar")
            row["number"], row["records"], row["bytes"], row["sha256"] = int(number), records, size, sha256
        return cls(split, rows)

    @classmethod
    def from_bytes(cls, split: str, data: bytes, sha256: str) -> ShardTable:
        """Parse the contents of `shards.npy`, whose SHA-256 is known.

        Raises:
            ValueError: If they are others, or a row is out of bounds.
        """
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError(f"the SHA-256 of {TABLE} is not the manifest's, so it is damaged: copy it again")
        body = memoryview(data)[10 + int.from_bytes(data[8:10], "little") :]
        table = cls(split, np.frombuffer(body[: len(body) // COLUMNS.itemsize * COLUMNS.itemsize], COLUMNS))
        # numpy would evaluate the header, and allocate what it says
        if table.data != data or not 1 <= len(table) <= MAX_SHARDS:
            raise ValueError(f"{TABLE} is not a table of 1 to {MAX_SHARDS} shards")
        table._check()
        return table

    def _check(self) -> None:
        rows = self.rows
        records, size = rows["records"], rows["bytes"]
        if records.min() < 1 or records.max() > MAX_SHARD_RECORDS:
            raise ValueError(f"{TABLE}: a shard has fewer than 1 or more than {MAX_SHARD_RECORDS} records")
        if size.min() < MIN_SHARD_BYTES or size.max() > MAX_SHARD_BYTES:
            raise ValueError(f"{TABLE}: a shard has fewer than {MIN_SHARD_BYTES} or more than {MAX_SHARD_BYTES} bytes")
        if (np.diff(rows["number"].astype(np.int64)) <= 0).any():
            raise ValueError(f"{TABLE}: two shards have the same name, or they are not sorted")
        heads, counts = np.unique(self.heads, return_counts=True)
        if (counts > 1).any():
            alike = np.isin(self.heads, heads[counts > 1])
            digests = [row.tobytes() for row in rows["sha256"][alike]]
            if len(set(digests)) < len(digests):
                raise ValueError(f"{TABLE}: two shards have the same SHA-256, so the same keys")

    @cached_property
    def data(self) -> bytes:
        """The contents of `shards.npy`."""
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, self.rows, version=(1, 0), allow_pickle=False)
        return buffer.getvalue()

    @property
    def heads(self) -> NDArray[np.uint64]:
        """The first eight bytes of each SHA-256, as numbers."""
        heads: NDArray[np.uint64] = np.frombuffer(self.rows["sha256"].tobytes(), ">u8").reshape(-1, 4)[:, 0]
        return heads.astype(np.uint64)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, number: int) -> ShardEntry: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[ShardEntry]: ...
    def __getitem__(self, number: int | slice) -> ShardEntry | Sequence[ShardEntry]:
        """Return the entry of a row, or the table of several."""
        if isinstance(number, slice):
            return ShardTable(self.split, self.rows[number])
        row: Any = self.rows[number]
        name = f"{self.split}-{int(row['number']):06d}.tar"
        return ShardEntry(name, int(row["records"]), int(row["bytes"]), row["sha256"].tobytes().hex())

    def __iter__(self) -> Iterator[ShardEntry]:
        return map(self.__getitem__, range(len(self)))

    def __eq__(self, other: object) -> bool:
        """Whether another table has the same rows."""
        return isinstance(other, ShardTable) and self.split == other.split and bool((self.rows == other.rows).all())

    __hash__ = None  # type: ignore[assignment]  # as of a list


def record_counts(shards: Sequence[ShardEntry]) -> NDArray[np.int64]:
    """Return the number of records of each shard, int64."""
    if isinstance(shards, ShardTable):
        return shards.rows["records"].astype(np.int64)
    return np.fromiter((shard.records for shard in shards), np.int64, len(shards))


class ShardNumbers:
    """Finds shards by their SHA-256, with 16 bytes a shard.

    Example:
        >>> entries = [ShardEntry(f"train-{k:06d}.tar", 5, 20480, f"{9 - k:064x}") for k in range(3)]
        >>> numbers = ShardNumbers(entries)
        >>> [numbers.find(f"{k:064x}") for k in (9, 8, 7, 6)], numbers.find("lost+found")
        ([0, 1, 2, None], None)
    """

    def __init__(self, shards: Sequence[ShardEntry]) -> None:
        self._shards = shards
        if isinstance(shards, ShardTable):
            heads = shards.heads
        else:
            heads = np.fromiter((_head(shard.sha256) for shard in shards), np.uint64, len(shards))
        self._order = np.argsort(heads)
        self._heads = heads[self._order]

    def find(self, sha256: str) -> int | None:
        """Return the position of a shard; None if there is none with this SHA-256."""
        try:
            head = np.uint64(_head(sha256))
        except (ValueError, OverflowError):
            return None
        first, end = np.searchsorted(self._heads, head), np.searchsorted(self._heads, head, "right")
        return next((int(n) for n in self._order[first:end] if self._shards[int(n)].sha256 == sha256), None)


def _head(sha256: str) -> int:
    return int(sha256[:16], 16)
