"""The memory of a process that streams, in a module that it can import."""

from __future__ import annotations

from pathlib import Path

from seqviews.pipeline.stream import SequenceStream


def resident_by_epoch(split: Path, epochs: int) -> list[float]:
    """MiB in memory at the end of each epoch, at its largest batch by batch."""
    stream = SequenceStream(split, 16, lanes=4, window=2, factors=["shade"])
    return [max(resident() for batch in stream if batch.keys) for _ in range(epochs)]


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20
