"""Made records: a pure function of seed, epoch and index, whatever batches, ranks, threads and interruptions."""

import copy
import json
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import streaming_memory
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from seqviews.pipeline.datasets.digits import sklearn_digits
from seqviews.pipeline.datasets.smmnist import MovingDigits
from seqviews.pipeline.records import Batch, endless
from seqviews.pipeline.stream.made import MadeStream
from seqviews.pipeline.stream.recordset import RecordSet
from seqviews.pipeline.stream.stream import SequenceStream

DIGITS = MovingDigits(sklearn_digits(), (38, 0, 0), digits_per_clip=2, frames=4, size=16)
FACTORS = ("digits", "trajectory")


def stream(batch_size: int = 5, **options: Any) -> MadeStream:
    return MadeStream(DIGITS, batch_size, factors=FACTORS, **options)


def records(batch: Batch) -> list[tuple[Any, ...]]:
    """What a batch says of each of its records, with its pixels as bytes."""
    pixels = [clip.permute(0, 2, 3, 1).numpy().tobytes() for clip in batch.x]
    factors = zip(batch.factors["digits"].tolist(), batch.factors["trajectory"].tolist(), strict=True)
    return list(zip(batch.keys, batch.indices.tolist(), [batch.epoch] * len(pixels), pixels, factors, strict=True))


def alone(seed: int, epoch: int, index: int) -> tuple[Any, ...]:
    """A record that is made without any other."""
    x, factors = DIGITS.make(seed, epoch, [index])
    labels = int(factors["digits"][0]), factors["trajectory"][0].tolist()
    return f"made-{epoch}-{index:06d}", index, epoch, x.tobytes(), labels


@given(st.integers(0, 3), st.integers(0, 5), st.integers(1, 40), st.integers(1, 8), st.integers(1, 3))
@settings(deadline=None, max_examples=40)
def test_a_record_depends_on_seed_epoch_and_index_only(
    seed: int, epoch: int, batch_size: int, ranks: int, threads: int
) -> None:
    ranks = min(ranks, batch_size)
    expected = [alone(seed, epoch, index) for index in range(38)]
    batches = [expected[start : start + batch_size] for start in range(0, 38, batch_size)]
    for rank in range(ranks):
        made = stream(batch_size, seed=seed, rank=rank, ranks=ranks, threads=threads)
        made.set_epoch(epoch)
        assert len(made) == len(batches)
        assert [records(batch) for batch in made] == [batch[rank::ranks] for batch in batches]


def test_batches_are_those_of_any_stream() -> None:
    batch, *_, rest = stream()
    assert (batch.x.dtype, batch.x.shape, batch.x.stride(2)) == (torch.uint8, (5, 4, 1, 16, 16), 1)
    assert (batch.indices.dtype, batch.factors["digits"].dtype) == (torch.int64, torch.int64)
    assert (batch.factors["trajectory"].dtype, batch.factors["trajectory"].shape) == (torch.float32, (5, 4, 2, 2))
    assert len(rest.keys) == 3
    *_, padded = stream(last="pad")
    assert padded.indices.tolist() == [35, 36, 37, 0, 1]
    assert len(list(stream(last="drop"))) == 7
    *_, empty = stream(rank=3, ranks=4)
    assert (empty.keys, empty.x.shape, empty.factors["digits"].shape) == ([], (0, 4, 1, 16, 16), (0,))
    assert next(iter(MadeStream(DIGITS, 5))).factors == {}


def test_every_epoch_and_every_seed_has_other_clips() -> None:
    seen = [
        {record[3] for batch in islice(endless(stream(seed=seed)), 3 * 8) for record in records(batch)}
        for seed in (0, 1)
    ]
    assert [len(clips) for clips in seen] == [3 * 38] * 2
    assert not seen[0] & seen[1]


@pytest.mark.parametrize("received", range(18))
def test_resume_after_any_batch(received: int) -> None:
    whole, first = endless(stream(seed=2)), stream(seed=2)
    expected = [records(batch) for batch in islice(whole, 20)][received:]
    running = endless(first)
    assert len(list(islice(running, received))) == received
    resumed = stream(seed=2, threads=1)
    resumed.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for other in (resumed, copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert [records(batch) for batch in islice(endless(other), 20 - received)] == expected


def test_states_of_other_streams(toy: Path) -> None:
    state = stream().state_dict()
    for other in (replace(DIGITS, digit_size=9), replace(DIGITS, digits_per_clip=1), replace(DIGITS, frames=5)):
        with pytest.raises(ValueError, match="the saved state is not of this stream of made smmnist: it has made"):
            MadeStream(other, 5).load_state_dict(state)
    with pytest.raises(ValueError, match="seed 0 instead of 1"):
        stream(seed=1).load_state_dict(state)
    with pytest.raises(ValueError, match="manifests None"):
        SequenceStream(toy / "train", 5).load_state_dict(state)


def test_what_needs_stored_records_is_an_error(toy: Path) -> None:
    for several in (DIGITS, [toy / "train", DIGITS], [stream()]):
        with pytest.raises(TypeError, match="is not a folder of stored records: `where` and mixtures require one; use"):
            SequenceStream(several, 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="MovingDigits is not a folder of stored records"):
        RecordSet(DIGITS, where=lambda factors: True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "at least 1"),
        ({"batch_size": 39, "last": "drop"}, "made smmnist has 38 records, not one batch of 39"),
        ({"rank": 2, "ranks": 2}, "rank 2 of 2"),
        ({"factors": ["hair"]}, "smmnist has no factor hair: it has digits, trajectory"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MadeStream(DIGITS, **{"batch_size": 5, **arguments})


def test_a_dataloader_must_have_no_workers() -> None:
    with pytest.raises(RuntimeError, match="MadeStream has its own threads"):
        list(DataLoader(stream(), batch_size=None, num_workers=1))


@pytest.mark.slow
def test_memory_is_flat_over_epochs() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        used = pool.submit(streaming_memory.made_resident_by_epoch, 20).result()
    assert max(used[1:]) - min(used[1:]) < 10  # the first epoch allocates what the process keeps
