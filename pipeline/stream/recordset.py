"""RecordSet: the records of a prepared split, or those of them that a condition on their factors keeps."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.manifest import Features, ShardEntry, load_manifest
from seqviews.pipeline.records import Factor
from seqviews.pipeline.shards.reader import ShardReader
from seqviews.pipeline.shards.shard import Shard
from seqviews.pipeline.storage.folder import Folder, open_folder
from seqviews.pipeline.stream.lookahead import Lookahead


class RecordSet:
    """The records of a split, for a stream to put in order and to decode.

    Args:
        folder: The split's folder or URL, for example `sprites/train` or `s3://bucket/sprites/train`.
        where: Says of a record, by its factors, whether it is kept; all are by default. To ask it, every shard is read
            and checked once, here; no frame is decoded. What was kept stays in memory, 4 bytes a record.

    Attributes:
        manifest: Of the whole split.
        counts: Kept records of each shard; shards of which none is kept are left out.
        identity: Names the records: the manifest's digest and, with `where`, the SHA-256 of what it kept.

    Raises:
        ShardError: If the folder has no valid manifest, or with `where` a shard is not what the manifest says.
        ValueError: If no record is kept.
    """

    def __init__(
        self, folder: Folder | Path | str, where: Callable[[Mapping[str, Factor]], bool] | None = None
    ) -> None:
        self.folder = open_folder(folder)
        self.manifest = load_manifest(self.folder)
        self._reader = ShardReader(self.folder, self.manifest.dataset.features)
        self.identity = self.manifest.digest
        entries = self.manifest.shards
        first = list(accumulate((entry.records for entry in entries), initial=0))[:-1]
        places: list[Sequence[int]] = [range(entry.records) for entry in entries]
        if where is not None:
            kept = [self._matching(entry, where) for entry in entries]
            indices = np.concatenate([start + k.astype("<i8") for start, k in zip(first, kept, strict=True)])
            self.identity += " " + hashlib.sha256(indices.tobytes()).hexdigest()
            places = [k.data for k in kept]
        self._shards = [stored for stored in zip(entries, places, first, strict=True) if len(stored[1])]
        self.counts = [len(kept) for _, kept, _ in self._shards]
        self._numbers = {entry.sha256: number for number, (entry, _, _) in enumerate(self._shards)}
        if not self.counts:
            raise ValueError(f"no record of {folder} is kept: `where` is true for none of its {len(self.manifest)}")

    def _matching(self, entry: ShardEntry, where: Callable[[Mapping[str, Factor]], bool]) -> NDArray[np.int32]:
        shard = self._reader.read(entry)
        return np.array([place for place in range(entry.records) if where(shard.factors(place))], np.int32)

    def __len__(self) -> int:
        """The number of kept records."""
        return sum(self.counts)

    def read(self, shard: int) -> Shard:
        """Read a shard whole and check it; `shard` is a place in `counts`.

        Raises:
            ShardError: If it is not what the manifest says.
        """
        return self._reader.read(self._shards[shard][0])

    @property
    def is_remote(self) -> bool:
        """Whether it is in object storage."""
        return self._reader.cache is not None

    def demand(self, shards: Sequence[int]) -> None:
        """Say which shards will be read next, as places in `counts`."""
        self._reader.demand([self._shards[shard][0] for shard in shards])

    def expect(self, ahead: Lookahead) -> None:
        """Let shards that come from afar be fetched before they are needed."""
        self._reader.expect(
            [self._shards[shard][0] for shard in ahead.soon()],
            lambda name: ahead.when(self._numbers[name]) if name in self._numbers else math.inf,
        )

    def abandon(self) -> None:
        """Let go of what is being fetched."""
        self._reader.abandon()

    def check_room(self, shards: int) -> None:
        """Refuse a cache that cannot hold so many shards.

        Raises:
            ValueError: If it cannot, where the shards come from afar.
        """
        cache = self._reader.cache
        needed = sum(sorted((entry.bytes for entry, _, _ in self._shards), reverse=True)[:shards])
        if cache is not None and needed > cache.size:
            told = f"{cache.folder} may take {cache.size / 1e6:.1f} MB, and the windows of {self.folder} take"
            raise ValueError(f"the cache {told} up to {needed / 1e6:.1f} MB: give it more, or the stream fewer lanes")

    def find(self, shard: int, record: int) -> tuple[int, int]:
        """The place in its shard, and the place in the whole split, of the `record`-th kept record of a shard."""
        _, kept, first = self._shards[shard]
        return kept[record], first + kept[record]


def check_agreement(sets: Sequence[RecordSet], factors: Sequence[str]) -> None:
    """Refuse data sets whose records do not fit into one batch.

    Args:
        sets: The data sets.
        factors: Names of those that each must have, with the same classes.

    Raises:
        ValueError: If there is none, or one differs from the first in what a record looks like or means.
    """
    if not sets:
        raise ValueError("there is no data set to stream: give a folder or a RecordSet")
    first = sets[0]
    for one in sets:
        mine, expected = (_told(s.manifest.dataset.features) for s in (one, first))
        if mine != expected:
            raise ValueError(f"{one.folder} has {mine}, but {first.folder} has {expected}: they cannot be mixed")
        for name in factors:
            if name not in one.manifest.factors:
                raise ValueError(f"{one.folder} has no factor {name}: it has {', '.join(one.manifest.factors)}")
            if one.manifest.factors[name] != first.manifest.factors[name]:
                raise ValueError(f"the factor {name} has other classes in {one.folder} than in {first.folder}")


def _told(features: Features) -> str:
    if features.mel is None:
        return f"clips of {list(features.shape)}"
    return f"segments of {list(features.shape)} in {features.mel.voices} other voices with {features.mel.parameters}"
