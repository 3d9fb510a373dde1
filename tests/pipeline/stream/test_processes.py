"""Streams in other processes: copies resume, and the ranks of a group share every batch."""

import copy
import json
import pickle
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from grouped_stream import batches, work
from torch.multiprocessing import start_processes  # type: ignore[attr-defined]  # not in torch's __all__

from seqviews.pipeline.records import endless
from seqviews.pipeline.stream.recordset import RecordSet
from seqviews.pipeline.stream.stream import SequenceStream


def test_a_group_of_two_processes_shares_every_batch(toy: Path, tmp_path: Path) -> None:
    stream = SequenceStream(toy / "train", 6, seed=3)
    whole = batches(stream)
    stream.set_epoch(0)
    before = list(islice(stream, 2))
    start_processes(work, args=(stream, toy, tmp_path), nprocs=2, start_method="spawn")  # type: ignore[no-untyped-call]
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    train = batches(SequenceStream(toy / "train", 6))
    for rank, keys in enumerate(found):
        assert keys["state"] == stream.state_dict()
        assert keys["rest"] == [batch[rank::2] for batch in whole[len(before) :]]
        assert keys["made here"] == [batch[rank::2] for batch in train]
        assert keys["rank given"] == found[1 - rank]["made here"]
        assert keys["both given"] == [batch[2::3] for batch in train]
        assert keys["too small"] == f"rank {rank} of 2 cannot share batches of 1"
    mixed = batches(SequenceStream([toy / "train", toy / "val"], 6))
    assert [sorted(a + b) for a, b in zip(*(keys["mixed"] for keys in found), strict=True)] == list(map(sorted, mixed))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, copy.copy, lambda stream: pickle.loads(pickle.dumps(stream))])
@pytest.mark.parametrize("received", [0, 3, 6, 8])
def test_a_copy_resumes_after_the_last_batch(
    toy: Path, received: int, duplicate: Callable[[SequenceStream], SequenceStream]
) -> None:
    records = RecordSet(toy / "train", where=lambda factors: factors["shade"] == 0)
    stream = SequenceStream([records, toy / "val"], 6, weights=[2, 1], seed=3, lanes=2, window=1, factors=["shade"])
    running = endless(stream)
    for _ in range(received):
        next(running)
    duplicated = duplicate(stream)
    assert duplicated.state_dict() == stream.state_dict()
    rest = [(batch.epoch, batch.keys, batch.factors["shade"].tolist()) for batch in islice(running, 8)]
    assert [(b.epoch, b.keys, b.factors["shade"].tolist()) for b in islice(endless(duplicated), 8)] == rest


def test_a_copy_of_a_stream_from_object_storage(stored: Any, large_clips: Path) -> None:
    stream = SequenceStream(stored.folder(), 5)
    next(iter(stream))
    expected = batches(SequenceStream(large_clips, 5))[1:]
    assert batches(pickle.loads(pickle.dumps(stream))) == batches(copy.deepcopy(stream)) == expected


INTEGERS: list[Callable[[int], Any]] = [np.int8, np.uint16, np.int64, np.array, torch.tensor]


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers_of_any_type_give_a_state_of_plain_json(toy: Path, kind: Callable[[int], Any]) -> None:
    numbers = {"seed": 1, "lanes": 2, "window": 3, "rank": 0, "ranks": 1, "threads": 2}
    plain = SequenceStream(toy / "train", 5, **numbers)  # type: ignore[arg-type]  # mypy takes them for any argument
    stream = SequenceStream(toy / "train", kind(5), **{name: kind(value) for name, value in numbers.items()})
    for each in (stream, plain):
        each.set_epoch(kind(1))
        next(iter(each))
    state = stream.state_dict()
    assert json.loads(json.dumps(state)) == state == plain.state_dict()
    stream.load_state_dict({**state, "epoch": kind(1), "batches": kind(1)})
    plain.load_state_dict(state)
    assert json.loads(json.dumps(stream.state_dict())) == state
    assert batches(stream) == batches(plain)


@pytest.mark.parametrize("name", ["batch_size", "seed", "lanes", "window", "rank", "ranks", "threads"])
def test_numbers_that_are_no_integers(toy: Path, name: str) -> None:
    values: tuple[Any, ...] = (4.0, np.float64(4), "4", [4])
    for value in values:
        with pytest.raises(TypeError, match=rf"{name} is .*, not an integer"):
            SequenceStream(toy / "train", **{"batch_size": 5, name: value})
