"""Excerpts of long clips in pages of JPEG: the stream against webdataset with Pillow, which reads all pages or some."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqviews.pipeline.storage.folder import Folder
from seqviews.pipeline.stream.excerpt import Excerpt
from seqviews.pipeline.stream.stream import SequenceStream
from seqviews.tools.benchmarks.stream import measure_epochs, shard_paths

BATCH, FRAMES, WORKERS = 16, 15, 2
PEERS = {"webdataset_all_pages": False, "webdataset_touched_pages": True}
"""Whether a peer decodes only the pages that the excerpt touches."""


def bench_excerpts(data: Folder, rounds: int) -> dict[str, Any]:
    """Measure epochs of random excerpts of 15 frames of the training split, each side in turn.

    Returns:
        `loaders` has by name the medians of `clips_per_second`, in excerpts, and of `processor_us_per_clip`; `ratios`
        has our rate relative to that of each peer.

    Raises:
        ValueError: If the split has fewer than 8 shards, is in a bucket, has clips of fewer than 15 frames, or clips
            that are not stored as pages of JPEG.
    """
    split = data / "train"
    stream = SequenceStream(split, BATCH, excerpt=Excerpt(FRAMES))
    features = stream.manifest.dataset.features
    if data.is_remote or features.frames[0] < FRAMES:
        raise ValueError(f"{split} is in a bucket, or has clips of fewer than {FRAMES} frames: prepare others on disk")
    if features.codec != "jpeg" or features.page_frames is None:
        raise ValueError(f"{split} has no pages of JPEG: prepare faces or videos with --codec jpeg --page-frames N")
    shards = shard_paths(split, stream)
    loaders: dict[str, Any] = {"ours": stream}
    loaders |= {name: excerpts_by_webdataset(shards, stream, touched) for name, touched in PEERS.items()}
    measured = measure_epochs(loaders, rounds)
    rates = {name: row["clips_per_second"] for name, row in measured.items()}
    return {"loaders": measured, "ratios": {name: round(rates["ours"] / rates[name], 2) for name in PEERS}}


def excerpts_by_webdataset(shards: list[str], stream: SequenceStream, touched: bool, workers: int = WORKERS) -> Any:
    """Batches `(clips, keys)` of random excerpts, decoded by Pillow in worker processes, clips uint8 `[B, T, H, W, C]`.

    Args:
        shards: Paths or URLs of shards of pages of JPEG.
        stream: A stream of the same shards, which has the layout of a clip.
        touched: Decode only the pages with frames of the excerpt; otherwise all, as webdataset's own decoder does.
        workers: Processes of the DataLoader; at 0 it decodes in this one.
    """
    import webdataset

    features = stream.manifest.dataset.features
    size, frame_shape = features.page_frames or 1, features.shape[1:]

    def excerpt(sample: dict[str, Any]) -> tuple[Tensor, str]:
        start = random.randrange(json.loads(sample["json"])["frames"] - FRAMES + 1)
        names = sorted(name for name in sample if name.startswith("frames"))
        first, last = (start // size, (start + FRAMES - 1) // size) if touched else (0, len(names) - 1)
        pages = [_decoded(sample[name]) for name in names[first : last + 1]]
        frames = np.concatenate(pages).reshape(-1, *frame_shape)
        return torch.from_numpy(frames[start - first * size :][:FRAMES].copy()), sample["__key__"]

    dataset = webdataset.WebDataset(shards, shardshuffle=len(shards), seed=0).shuffle(100).map(excerpt).batched(BATCH)
    return webdataset.WebLoader(dataset, batch_size=None, num_workers=workers, persistent_workers=workers > 0)


def _decoded(page: bytes) -> NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(page)))
