"""The stream compared with the shards as tarfile and Pillow read them; its order, state and behaviour on damage."""

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_records import independent_clips, independent_jsons
from torch.utils.data import DataLoader

from seqviews.pipeline.records import ShardError
from seqviews.pipeline.stream.stream import SequenceStream


def keys(stream: SequenceStream) -> list[str]:
    return [key for batch in stream for key in batch.keys]


def test_batches_hold_the_records_exactly(toy: Path) -> None:
    expected = independent_clips(toy / "train")
    stream = SequenceStream(toy / "train", 5, factors=["shade", "path"])
    batches = list(stream)
    assert len(batches) == len(stream) == 8
    assert sorted(k for b in batches for k in b.keys) == sorted(expected)
    assert sorted(int(i) for b in batches for i in b.indices) == list(range(36))
    for batch in batches:
        assert (batch.x.dtype, batch.x.shape[1:]) == (torch.uint8, (4, 3, 16, 16))
        assert batch.x.stride(2) == 1, "frames stay channels last"
        for i, key in enumerate(batch.keys):
            frames, about = expected[key]
            assert list(expected)[int(batch.indices[i])] == key
            np.testing.assert_array_equal(batch.x[i].permute(0, 2, 3, 1).numpy(), frames)
            assert int(batch.factors["shade"][i]) == about["factors"]["shade"]
            np.testing.assert_array_equal(batch.factors["path"][i].numpy(), about["factors"]["path"])


orders = st.fixed_dictionaries({"seed": st.integers(0, 3), "lanes": st.integers(1, 6), "window": st.integers(1, 4)})


@given(orders, st.integers(1, 40), st.integers(1, 8), st.integers(1, 3))
@settings(deadline=None, max_examples=25)
def test_every_record_once_for_any_arguments(
    toy: Path, order: dict[str, Any], batch_size: int, ranks: int, threads: int
) -> None:
    def batches(**options: Any) -> list[list[str]]:
        return [batch.keys for batch in SequenceStream(toy / "train", batch_size, **order, **options)]

    alone, ranks = batches(), min(ranks, batch_size)
    assert sorted(k for batch in alone for k in batch) == sorted(independent_jsons((toy / "train").glob("*.tar")))
    parts = [batches(rank=rank, ranks=ranks, threads=threads) for rank in range(ranks)]
    assert [[part[number] for part in parts] for number in range(len(alone))] == [
        [batch[rank::ranks] for rank in range(ranks)] for batch in alone
    ]


def test_an_epoch_left_early_ends_its_threads_and_starts_again(toy: Path) -> None:
    stream, before = SequenceStream(toy / "train", 5), threading.active_count()
    whole = keys(SequenceStream(toy / "train", 5))
    for batch in stream:
        assert len(batch.keys) == 5
        break
    assert threading.active_count() == before
    assert keys(stream) == whole
    assert stream.epoch == 1
    stream.set_epoch(0)
    assert keys(stream) == whole


def test_a_rank_with_no_part_of_the_last_batch_has_an_empty_one(toy: Path) -> None:
    *_, batch = SequenceStream(toy / "train", 5, rank=3, ranks=4, factors=["shade", "path"])
    assert (batch.keys, batch.x.shape) == ([], (0, 4, 3, 16, 16))
    assert (batch.indices.dtype, batch.factors["shade"].dtype) == (torch.int64, torch.int64)
    assert batch.factors["path"].dtype == torch.float32


def test_a_dataloader_must_have_no_workers(toy: Path) -> None:
    stream = SequenceStream(toy / "train", 5)
    assert [b.keys for b in DataLoader(stream, batch_size=None)] == [b.keys for b in SequenceStream(toy / "train", 5)]
    with pytest.raises(RuntimeError, match="has its own threads"):
        list(DataLoader(stream, batch_size=None, num_workers=1))


def test_state_of_another_stream(toy: Path) -> None:
    state = SequenceStream(toy / "train", 5).state_dict()
    with pytest.raises(ValueError, match="batch_size 5 instead of 6"):
        SequenceStream(toy / "train", 6).load_state_dict(state)
    with pytest.raises(ValueError, match="manifest"):
        SequenceStream(toy / "val", 5, lanes=1).load_state_dict({**state, "lanes": 1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lanes": 7}, "from 1 to 6"),
        ({"batch_size": 0}, "at least 1"),
        ({"batch_size": 37, "last": "drop"}, "36 records"),
        ({"rank": 2, "ranks": 2}, "rank 2 of 2"),
        ({"last": "skip"}, "keep, drop, pad"),
        ({"factors": ["hair"]}, "has no factor hair: it has shade, path"),
    ],
)
def test_arguments_out_of_range(toy: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SequenceStream(toy / "train", **{"batch_size": 5, **arguments})


def test_flipped_bytes_truncated_missing_and_unfinished(toy: Path, tmp_path: Path) -> None:
    split, rng = tmp_path / "val", np.random.default_rng(0)
    shutil.copytree(toy / "val", split)
    shard = split / "val-000001.tar"
    data = shard.read_bytes()
    for position in rng.integers(0, len(data), 50):
        flipped = bytearray(data)
        flipped[position] ^= 1 << int(rng.integers(8))
        shard.write_bytes(flipped)
        with pytest.raises(ShardError, match=r"val-000001\.tar: its SHA-256"):
            list(SequenceStream(split, 4))
    shard.write_bytes(data[:-512])
    with pytest.raises(ShardError, match=r"val-000001\.tar: has \d+ bytes, the manifest says"):
        list(SequenceStream(split, 4))
    shard.unlink()
    with pytest.raises(ShardError, match=r"val-000001\.tar: cannot be read"):
        list(SequenceStream(split, 4))
    (split / "manifest.json").unlink()
    with pytest.raises(ShardError, match=r"no manifest\.json"):
        SequenceStream(split, 4)
