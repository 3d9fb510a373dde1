"""The stream of clips against webdataset, with the same decoder and with the decoder that webdataset brings."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import imagecodecs
import numpy as np
import torch
from torch import Tensor

from seqviews.pipeline.storage.folder import Folder
from seqviews.pipeline.stream.stream import SequenceStream

if TYPE_CHECKING:
    from seqviews.pipeline.storage.bucket import Bucket

BATCH, MIN_SHARDS = 64, 8
PEER_WORKERS = (0, 2)
DECODERS = ("imagecodecs", "pillow")
"""Of the peer: that of `SequenceStream`, and webdataset's own."""


def bench_stream(data: Folder, rounds: int) -> dict[str, Any]:
    """Measure epochs of the training split after the first, each side in turn; the results are medians.

    Returns:
        `loaders` has by name `clips_per_second` and `processor_us_per_clip`, user and system time of this process and
        of its workers in microseconds. `same_decoder` and `own_decoder` name the webdataset with the most clips/s, and
        have our clips/s and our processor time relative to it.

    Raises:
        ValueError: If the split has fewer than 8 shards.
        OSError: If the system does not have Linux's `/proc`.
    """
    split = data / "train"
    stream = SequenceStream(split, BATCH)
    shards = shard_paths(split, stream)
    loaders: dict[str, Any] = {"ours": stream}
    for decoder in DECODERS:
        for workers in PEER_WORKERS:
            loaders[peer_name(decoder, workers)] = webdataset_loader(shards, stream, decoder, workers)
    measured = measure_epochs(loaders, rounds)
    return {"loaders": measured} | compare(measured)


def shard_paths(split: Folder, stream: SequenceStream) -> list[str]:
    """The paths or URLs of the shards of a split. Raises `ValueError` if there are fewer than 8."""
    shards = [f"{split}/{shard.name}" for shard in stream.manifest.shards]
    if len(shards) < MIN_SHARDS:
        advice = f"prepare at least {MIN_SHARDS}, so that both sides can use their workers"
        raise ValueError(f"{split} has {len(shards)} shards: {advice}")
    return shards


def measure_epochs(loaders: Mapping[str, Iterable[Any]], rounds: int) -> dict[str, dict[str, float]]:
    """Medians of `measure_epoch` of each loader, in turn, after one epoch that is not measured."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # to stack a batch, a second thread helps little, and waits for a core where others work
    for loader in loaders.values():  # files into the page cache, workers started
        measure_epoch(loader)
    turns = [{name: measure_epoch(loader) for name, loader in loaders.items()} for _ in range(rounds)]
    torch.set_num_threads(threads)
    return {
        name: {key: round(statistics.median(turn[name][key] for turn in turns), 1) for key in turns[0][name]}
        for name in loaders
    }


def compare(measured: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Ours against the fastest peer with each decoder.

    Example:
        >>> rates = {"ours": 9.0, "webdataset_imagecodecs_0_workers": 2.0, "webdataset_imagecodecs_2_workers": 3.0}
        >>> rates |= {"webdataset_pillow_0_workers": 1.0, "webdataset_pillow_2_workers": 0.5}
        >>> rows = {name: {"clips_per_second": x, "processor_us_per_clip": 1 / x} for name, x in rates.items()}
        >>> compare(rows)["same_decoder"]
        {'webdataset': 'webdataset_imagecodecs_2_workers', 'ratio': 3.0, 'processor_ratio': 0.33}
        >>> compare(rows)["own_decoder"]
        {'webdataset': 'webdataset_pillow_0_workers', 'ratio': 9.0, 'processor_ratio': 0.11}
    """
    ours, result = measured["ours"], {}
    for row, decoder in zip(("same_decoder", "own_decoder"), DECODERS, strict=True):
        names = [peer_name(decoder, workers) for workers in PEER_WORKERS]
        best = max(names, key=lambda name: measured[name]["clips_per_second"])
        ratios = {key: round(ours[key] / measured[best][key], 2) for key in ours}
        rate, processor = ratios["clips_per_second"], ratios["processor_us_per_clip"]
        result[row] = {"webdataset": best, "ratio": rate, "processor_ratio": processor}
    return result


def bench_bucket_stream(data: Folder, rounds: int) -> dict[str, Any]:
    """The stream from a bucket; see `bench_bucket`. The peer has our decoder and two workers."""
    from seqviews.tools.benchmarks.bucket import bench_bucket  # obstore is an extra

    def peer(urls: list[str], stream: SequenceStream) -> float:
        return measure_epoch(webdataset_loader(urls, stream, "imagecodecs", 2))["clips_per_second"]

    return bench_bucket(cast("Bucket", data), BATCH, rounds, peer)


def peer_name(decoder: str, workers: int) -> str:
    """The name of a peer in the result."""
    return f"webdataset_{decoder}_{workers}_workers"


def webdataset_loader(shards: list[str], stream: SequenceStream, decoder: str, workers: int) -> Any:
    """Batches `(clips, keys)` of the shards by webdataset, shuffled, clips uint8 `[B, T, H, W, C]`.

    Args:
        shards: Paths or URLs.
        stream: A stream of the same shards, which has the shape of a clip.
        decoder: One of `DECODERS`.
        workers: Processes of the DataLoader; at 0 it decodes in this one.
    """
    import webdataset

    shape = stream.manifest.dataset.features.shape

    def to_clip(image: Any) -> Tensor:
        pixels = imagecodecs.webp_decode(image) if decoder == "imagecodecs" else np.array(image, copy=True)
        return torch.from_numpy(pixels.reshape(shape))

    dataset = webdataset.WebDataset(shards, shardshuffle=len(shards), seed=0).shuffle(1000)
    if decoder == "pillow":
        dataset = dataset.decode("pil")
    dataset = dataset.to_tuple("frames.webp", "__key__").map_tuple(to_clip).batched(BATCH)
    return webdataset.WebLoader(dataset, batch_size=None, num_workers=workers, persistent_workers=workers > 0)


def measure_epoch(loader: Iterable[Any]) -> dict[str, float]:
    """`clips_per_second` and `processor_us_per_clip` of an epoch of a stream, or of a loader of `(clips, keys)`."""
    started, used, clips = time.perf_counter(), processor_seconds(), 0
    for batch in loader:
        clips += len(batch[0] if isinstance(batch, (tuple, list)) else batch.keys)
    wall, used = time.perf_counter() - started, processor_seconds() - used
    return {"clips_per_second": clips / wall, "processor_us_per_clip": 1e6 * used / clips}


def processor_seconds() -> float:
    """User and system time so far of this process, its live child processes and those that have ended."""
    live = 0.0
    for child in multiprocessing.active_children():
        user, system = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        live += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    ended = os.times()
    return time.process_time() + live + ended.children_user + ended.children_system
