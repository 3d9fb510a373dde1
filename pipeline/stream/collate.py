"""Stored records to a batch."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from seqviews.pipeline.features import Features
from seqviews.pipeline.records import Batch, Factor
from seqviews.pipeline.shards.codec import factor_array
from seqviews.pipeline.shards.shard import Shard
from seqviews.pipeline.stream.excerpt import Excerpt


class StoredRecord(NamedTuple):
    """A record to be decoded: its row in the batch, shard, position there, index in the split, and which excerpt."""

    row: int
    shard: Shard
    position: int
    split_index: int
    number: int = 0


def collate(
    records: Iterable[StoredRecord],
    size: int,
    features: Features,
    classes: Mapping[str, list[str] | None],
    epoch: int,
    excerpt: Excerpt | None = None,
    seed: int = 0,
) -> Batch:
    """Decode `size` records, one for each row in any order, into a batch; `classes` has the factors to decode.

    A shard is not kept longer than the iterable keeps it.

    Raises:
        ShardError: If a record contradicts the features or the classes.
        ValueError: If a record is shorter than the excerpt, or the batch does not fit the memory.
    """
    x, converted = _reserve(size, features.shape[0] if excerpt is None else excerpt.frames, features)
    keys, names, indices = [""] * size, [""] * size, [0] * size
    chosen = [(0, range(0))] * size
    factors: list[Mapping[str, Factor]] = [{}] * size
    for row, shard, position, index, number in records:
        length = shard.frames(position)
        of_batch = range(length)
        if excerpt is not None:
            if length < excerpt.span:
                found = f"{shard.name}: {shard.keys[position]} has {length} frames"
                raise ValueError(f"{found}, fewer than the {excerpt.span} of the excerpt")
            of_batch = excerpt.of(length, seed=seed, epoch=epoch, index=index, number=number)
        out = x[row, : len(of_batch)]
        voiced = None if converted is None else converted[row, :, : len(of_batch)]
        keys[row] = shard.decode(position, out, voiced, length, of_batch)
        indices[row], chosen[row] = index, (length, of_batch)
        if classes:
            factors[row] = shard.factors(position)
            names[row] = f"{shard.name}: {keys[row]}"
    longest = max((len(frames) for _, frames in chosen), default=0)
    lengths = [len(frames) for _, frames in chosen] if excerpt is None and features.min_frames is not None else None
    for row, length in enumerate(lengths or []):
        x[row, length:longest] = 0
        if converted is not None:
            converted[row, :, length:longest] = 0
    if lengths:
        x, converted = x[:, :longest], None if converted is None else converted[:, :, :longest]
    values = torch.from_numpy(x)
    return Batch(
        x=values.permute(0, 1, 4, 2, 3) if features.mel is None else values,
        keys=keys,
        indices=torch.tensor(indices, dtype=torch.int64),
        epoch=epoch,
        factors={
            name: torch.from_numpy(factor_array(name, known, [f.get(name) for f in factors], names, chosen))
            for name, known in classes.items()
        },
        converted=None if converted is None else torch.from_numpy(converted),
        lengths=None if lengths is None else torch.tensor(lengths, dtype=torch.int64),
        starts=None if excerpt is None else torch.tensor([frames.start for _, frames in chosen], dtype=torch.int64),
    )


def _reserve(size: int, frames: int, features: Features) -> tuple[NDArray[Any], NDArray[np.float16] | None]:
    """Arrays for records and their converted voices. What is not written to takes no memory, so `frames` may be large.

    Raises:
        ValueError: If they do not fit the memory.
    """
    voices = features.converted_shape
    try:
        x = np.empty((size, frames, *features.shape[1:]), features.dtype)
        return x, None if voices is None else np.empty((size, voices[0], frames, *voices[2:]), np.float16)
    except MemoryError:
        found = f"{size} records of {frames} frames of {list(features.shape[1:])}"
        raise ValueError(f"a batch of {found} does not fit the memory: take fewer, or a shorter excerpt") from None
