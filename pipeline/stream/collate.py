"""Records, found in shards, decoded into a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqviews.pipeline.manifest import Features
from seqviews.pipeline.records import Batch, ShardError
from seqviews.pipeline.shards.shard import Shard


@dataclass(slots=True, eq=False)
class Located:
    """A record: its shard, which may still be being read, its place there, and the index it has in the batch."""

    shard: Future[Shard]
    place: int
    index: int


def collate(
    records: Sequence[Located], features: Features, classes: Mapping[str, list[str] | None], epoch: int
) -> Batch:
    """Decode records into a batch.

    Args:
        records: In the batch's order.
        features: What each of them looks like.
        classes: The factors to give, with their class names; None marks a trajectory.
        epoch: Of the batch.

    Raises:
        ShardError: If a shard is not what its manifest says, or a record is not as above.
    """
    x = np.empty((len(records), *features.shape), features.dtype)
    voices = features.converted_shape
    converted = None if voices is None else np.empty((len(records), *voices), np.float16)
    shards = [record.shard.result() for record in records]
    keys = [
        shard.decode(record.place, x[i], None if converted is None else converted[i])
        for i, (record, shard) in enumerate(zip(records, shards, strict=True))
    ]
    factors = [shard.factors(record.place) for record, shard in zip(records, shards, strict=True) if classes]
    names = [f"{shard.name}: {key}" for shard, key in zip(shards, keys, strict=True) if classes]
    values = torch.from_numpy(x)
    return Batch(
        x=values.permute(0, 1, 4, 2, 3) if features.mel is None else values,
        keys=keys,
        indices=torch.tensor([record.index for record in records], dtype=torch.int64),
        epoch=epoch,
        factors={
            name: _factor(name, known, [f.get(name) for f in factors], names, features.shape[0])
            for name, known in classes.items()
        },
        converted=None if converted is None else torch.from_numpy(converted),
    )


def _factor(
    name: str, classes: Sequence[str] | None, values: Sequence[Any], records: Sequence[str], frames: int
) -> torch.Tensor:
    if classes is None:
        tracks = [_trajectory(name, value, frames, record) for value, record in zip(values, records, strict=True)]
        if len({track.shape for track in tracks}) > 1:
            raise ShardError(f"{records[0]} and others: their {name} differ in shape")
        return torch.from_numpy(np.stack(tracks) if tracks else np.empty((0, frames), np.float32))
    for value, record in zip(values, records, strict=True):
        if type(value) is not int or not 0 <= value < len(classes):
            raise ShardError(f"{record}: {name} is {repr(value)[:80]}, not a class from 0 to {len(classes) - 1}")
    return torch.tensor(values, dtype=torch.int64)


def _trajectory(name: str, value: Any, frames: int, record: str) -> NDArray[np.float32]:
    leaves = np.array(value, object)  # of another type, numpy would make numbers of null, true and "1"
    if leaves.ndim and len(leaves) == frames and set(map(type, leaves.flat)) <= {int, float}:
        with np.errstate(over="ignore"):
            track = leaves.astype(np.float32)
        if np.isfinite(track).all():
            return track
    raise ShardError(f"{record}: {name} is not a trajectory, numbers for each of {frames} frames")
