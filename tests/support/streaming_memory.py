"""The memory of a streaming process, in a module that it can import."""

from pathlib import Path

from seqviews.pipeline.datasets.digits import sklearn_digits
from seqviews.pipeline.datasets.smmnist import MovingDigits
from seqviews.pipeline.manifest import load_manifest
from seqviews.pipeline.storage.folder import Cache
from seqviews.pipeline.storage.urls import open_folder
from seqviews.pipeline.stream.excerpt import Excerpt
from seqviews.pipeline.stream.made import MadeStream
from seqviews.pipeline.stream.stream import SequenceStream


def resident_by_epoch(
    split: Path | str, epochs: int, cache: Cache | None = None, excerpt: Excerpt | None = None
) -> list[float]:
    """The maximum resident MiB in each epoch."""
    folder = open_folder(split, cache=cache)
    factors = list(load_manifest(folder).factors)[:1]
    stream = SequenceStream(folder, 16, lanes=4, window=2, factors=factors, excerpt=excerpt)
    return [max(resident() for batch in stream if batch.keys) for _ in range(epochs)]


def made_resident_by_epoch(epochs: int) -> list[float]:
    """The same of made clips, 60 MiB an epoch."""
    dataset = MovingDigits(sklearn_digits(), (1000, 0, 0), digits_per_clip=2)
    stream = MadeStream(dataset, 16, factors=["trajectory"])
    return [max(resident() for batch in stream if batch.keys) for _ in range(epochs)]


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20
