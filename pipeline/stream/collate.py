"""Stored records to a batch."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch

from seqviews.pipeline.manifest import Features
from seqviews.pipeline.records import Batch, Factor
from seqviews.pipeline.shards.codec import factor_array
from seqviews.pipeline.shards.shard import Shard


class StoredRecord(NamedTuple):
    """A record to be decoded: its row in the batch, its shard, its position there, and its index in the split."""

    row: int
    shard: Shard
    position: int
    split_index: int


def collate(
    records: Iterable[StoredRecord], size: int, features: Features, classes: Mapping[str, list[str] | None], epoch: int
) -> Batch:
    """Decode `size` records, one for each row in any order, into a batch; `classes` has the factors to decode.

    A shard is not kept longer than the iterable keeps it.

    Raises:
        ShardError: If a record contradicts the features or the classes.
    """
    x = np.empty((size, *features.shape), features.dtype)
    voices = features.converted_shape
    converted = None if voices is None else np.empty((size, *voices), np.float16)
    keys, names, indices = [""] * size, [""] * size, [0] * size
    factors: list[Mapping[str, Factor]] = [{}] * size
    for row, shard, position, index in records:
        keys[row] = shard.decode(position, x[row], None if converted is None else converted[row])
        indices[row] = index
        if classes:
            factors[row] = shard.factors(position)
            names[row] = f"{shard.name}: {keys[row]}"
    values = torch.from_numpy(x)
    return Batch(
        x=values.permute(0, 1, 4, 2, 3) if features.mel is None else values,
        keys=keys,
        indices=torch.tensor(indices, dtype=torch.int64),
        epoch=epoch,
        factors={
            name: torch.from_numpy(factor_array(name, known, [f.get(name) for f in factors], names, features.shape[0]))
            for name, known in classes.items()
        },
        converted=None if converted is None else torch.from_numpy(converted),
    )
