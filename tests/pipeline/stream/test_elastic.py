"""The global batches are the same for any number of ranks, and a state saved by some goes on with others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqviews.pipeline.stream.stream import SequenceStream

BATCH = 8


def streams(toy: Path, ranks: int) -> list[SequenceStream]:
    return [SequenceStream(toy / "train", BATCH, seed=3, last="pad", rank=r, ranks=ranks) for r in range(ranks)]


def global_batches(ranks: list[SequenceStream]) -> list[list[str]]:
    """An epoch, put together from every rank's part of each batch."""
    parts = zip(*([batch.keys for batch in stream] for stream in ranks), strict=True)
    return [[key for turn in zip(*part, strict=True) for key in turn] for part in parts]


def states_after(ranks: list[SequenceStream], received: int) -> list[dict[str, Any]]:
    for stream in ranks:
        batches = iter(stream)
        for _ in range(received):
            next(batches)
    return [stream.state_dict() for stream in ranks]


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_the_global_batches_are_those_of_one_rank(toy: Path, ranks: int) -> None:
    one, several = streams(toy, 1), streams(toy, ranks)
    for _ in range(2):
        expected = global_batches(one)
        assert len(expected) == 5
        assert global_batches(several) == expected


@pytest.mark.parametrize("others", [1, 2, 8])
@pytest.mark.parametrize("received", [0, 2, 4])
def test_a_state_of_four_ranks_goes_on_with_others(toy: Path, others: int, received: int) -> None:
    states = states_after(streams(toy, 4), received)
    assert all(state == states[0] for state in states)
    resumed = streams(toy, others)
    for stream in resumed:
        stream.load_state_dict(states[0])
    expected = global_batches(streams(toy, 1))
    assert global_batches(resumed) == expected[received:]
