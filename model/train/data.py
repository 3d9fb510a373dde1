"""Stand-in until the trainer's own file: opens splits."""

from __future__ import annotations

from pathlib import Path

from seqviews.pipeline.manifest import Split, load_manifest
from seqviews.pipeline.storage.folder import Folder
from seqviews.pipeline.storage.urls import open_folder
from seqviews.pipeline.stream.stream import SequenceStream


def split_stream(data: Folder | Path | str, split: Split, *, batch_size: int, seed: int) -> SequenceStream:
    """A split with all its factors."""
    folder = open_folder(data) / split
    return SequenceStream(folder, batch_size, seed=seed, factors=tuple(load_manifest(folder).factors))
