"""The peers deliver what the stream delivers, by either decoder, and workers count in the processor time."""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
import torch
from toy_clips import ToyClips

from seqviews.pipeline import SequenceStream
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.storage.local import LocalFolder
from seqviews.tools.benchmarks.stream import DECODERS, bench_stream, processor_seconds, webdataset_loader


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("clips") / "toy"
    prepare(ToyClips(counts=(8, 1, 1)), out, shard_sources=1)
    return out


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_peer_decodes_every_clip_to_what_the_stream_has(clips: Path, decoder: str) -> None:
    stream = SequenceStream(clips / "train", 5)
    shards = [str(path) for path in (clips / "train").glob("*.tar")]
    expected = {key: clip for batch in stream for key, clip in zip(batch.keys, batch.x, strict=True)}
    found: dict[str, torch.Tensor] = {}
    for x, keys in webdataset_loader(shards, stream, decoder, 0):
        found |= {key: clip.movedim(-1, 1) for key, clip in zip(keys, x, strict=True)}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in found)


def test_every_loader_has_both_measurements_and_the_threads_of_torch_stay(clips: Path) -> None:
    threads = torch.get_num_threads()
    result = bench_stream(LocalFolder(clips), rounds=1)
    peers = [f"webdataset_{decoder}_{workers}_workers" for decoder in DECODERS for workers in (0, 2)]
    assert list(result["loaders"]) == ["ours", *peers]
    for measured in result["loaders"].values():
        assert measured["clips_per_second"] > 0
        assert measured["processor_us_per_clip"] >= 0
    assert "imagecodecs" in result["same_decoder"]["webdataset"]
    assert "pillow" in result["own_decoder"]["webdataset"]
    assert torch.get_num_threads() == threads


def test_too_few_shards_are_an_error(tmp_path: Path) -> None:
    prepare(ToyClips(counts=(2, 1, 1)), tmp_path / "few", shard_sources=1)
    with pytest.raises(ValueError, match="train has 2 shards: prepare at least 8"):
        bench_stream(LocalFolder(tmp_path / "few"), rounds=1)


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def burn_and_wait(seconds: float, burned: Event, leave: Event) -> None:
    burn(seconds)
    burned.set()
    leave.wait()


def used(action: Callable[[], object]) -> float:
    before = processor_seconds()
    action()
    return processor_seconds() - before


def test_processor_time_is_that_of_this_process_and_its_workers_alive_or_ended() -> None:
    context = multiprocessing.get_context("fork")
    burned, leave = context.Event(), context.Event()
    worker = context.Process(target=burn_and_wait, args=(0.2, burned, leave))
    assert used(lambda: burn(0.1)) == pytest.approx(0.1, abs=0.05)
    assert used(lambda: time.sleep(0.1)) < 0.05

    def start() -> None:
        worker.start()
        burned.wait()

    assert used(start) == pytest.approx(0.2, abs=0.08)
    leave.set()
    assert used(worker.join) < 0.08  # counted as alive before, as ended now, never twice
