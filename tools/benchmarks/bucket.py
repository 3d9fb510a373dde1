"""Measure the stream from a bucket: cold and warm, against webdataset over `pipe:curl` and against a folder."""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from seqviews.pipeline.manifest import MAX_MANIFEST_BYTES
from seqviews.pipeline.storage.bucket import Bucket
from seqviews.pipeline.storage.folder import MANIFEST, Cache
from seqviews.pipeline.stream.stream import SequenceStream

EPOCHS = 3  # of the warm cache and of the folder in turn: they differ by less than one epoch does from the next


def bench_bucket(
    data: Bucket, batch_size: int, rounds: int, webdataset_rate: Callable[[list[str], SequenceStream], float]
) -> dict[str, Any]:
    """Clips/s of an epoch of the training split, and the time to the first batch, medians of turns.

    `webdataset_rate` measures the peer on a list of shard URLs.
    """
    split = data / "train"
    rates: dict[str, list[float]] = {name: [] for name in ("cold", "warm", "folder", "webdataset_curl_2_workers")}
    first: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        local = _copy(split, Path(folder) / "train")
        for turn in range(rounds):
            place = Path(folder) / f"cache-{turn}"
            started = time.perf_counter()
            stream = SequenceStream(replace(split, cache=Cache(place)), batch_size)
            rate, waited = _epoch(stream, started)
            rates["cold"].append(rate)
            first.append(waited)
            reader = SequenceStream(local, batch_size)
            _epoch(reader)
            for _ in range(EPOCHS):
                rates["warm"].append(_epoch(stream)[0])
                rates["folder"].append(_epoch(reader)[0])
            urls = [f"pipe:curl -sf '{url}'" for url in _presigned(split, stream)]
            rates["webdataset_curl_2_workers"].append(webdataset_rate(urls, stream))
            shutil.rmtree(place)
    median = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    return {
        "shards": len(stream.manifest.shards),
        "clips_per_second": median,
        "seconds_to_first_batch_cold": round(statistics.median(first), 2),
        "ratio_cold_to_webdataset_curl": round(median["cold"] / median["webdataset_curl_2_workers"], 2),
        "ratio_warm_to_folder": round(median["warm"] / median["folder"], 3),
    }


def _epoch(stream: SequenceStream, started: float | None = None) -> tuple[float, float]:
    """Clips/s of an epoch, and the seconds to its first batch."""
    started = time.perf_counter() if started is None else started
    clips, first = 0, 0.0
    for batch in stream:
        first = first or time.perf_counter() - started
        clips += len(batch.keys)
    return clips / (time.perf_counter() - started), first


def _copy(split: Bucket, folder: Path) -> Path:
    """The split as a folder."""
    folder.mkdir()
    manifest = split.get(MANIFEST, MAX_MANIFEST_BYTES) or b""
    (folder / MANIFEST).write_bytes(manifest)
    for shard in SequenceStream(split, 1).manifest.shards:
        (folder / shard.name).write_bytes(split.get(shard.name, shard.bytes + 1) or b"")
    return folder


def _presigned(split: Bucket, stream: SequenceStream) -> list[str]:
    import obstore

    paths = [f"{split.prefix}/{shard.name}" for shard in stream.manifest.shards]
    return [obstore.sign(split.store, "GET", path, timedelta(hours=1)) for path in paths]
