"""The factors of records, from JSON to checked arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqviews.pipeline.records import ShardError


def factor_array(
    name: str, classes: Sequence[str] | None, values: Sequence[Any], records: Sequence[str], frames: int
) -> NDArray[np.int64] | NDArray[np.float32]:
    """Return one factor of several records as an array.

    Args:
        name: The factor.
        classes: Its class names; None if it is a trajectory.
        values: Its value in each record's JSON, None where it is missing.
        records: Names of the records, for error messages.
        frames: Length of the records.

    Returns:
        int64 `[B]` classes or float32 `[B, frames, ...]` trajectories.

    Raises:
        ShardError: If a value is not a class, or not finite numbers for each frame in one shape.
    """
    if classes is None:
        tracks = [_trajectory(name, value, frames, record) for value, record in zip(values, records, strict=True)]
        if len({track.shape for track in tracks}) > 1:
            raise ShardError(f"{records[0]} and others: their {name} differ in shape")
        return np.stack(tracks) if tracks else np.empty((0, frames), np.float32)
    for value, record in zip(values, records, strict=True):
        if type(value) is not int or not 0 <= value < len(classes):
            raise ShardError(f"{record}: {name} is {repr(value)[:80]}, not a class from 0 to {len(classes) - 1}")
    return np.array(values, np.int64)


def _trajectory(name: str, value: Any, frames: int, record: str) -> NDArray[np.float32]:
    leaves = np.array(value, object)  # with another type, numpy converts null, true and "1" to numbers
    if leaves.ndim and len(leaves) == frames and set(map(type, leaves.flat)) <= {int, float}:
        with np.errstate(over="ignore"):
            track = leaves.astype(np.float32)
        if np.isfinite(track).all():
            return track
    raise ShardError(f"{record}: {name} is not a trajectory, numbers for each of {frames} frames")
