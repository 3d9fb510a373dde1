"""The splits of a prepared data set, as training and evaluation read them."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule

from seqviews.pipeline.datasets.digits import read_digits
from seqviews.pipeline.datasets.smmnist import MovingDigits, made_like
from seqviews.pipeline.features import Features
from seqviews.pipeline.manifest import Split, load_manifest
from seqviews.pipeline.records import Batch, ShardError
from seqviews.pipeline.storage.folder import Folder
from seqviews.pipeline.storage.urls import open_folder
from seqviews.pipeline.stream.batches import BatchStream
from seqviews.pipeline.stream.excerpt import Excerpt
from seqviews.pipeline.stream.made import MadeStream
from seqviews.pipeline.stream.order import Last
from seqviews.pipeline.stream.stream import SequenceStream


def split_stream(
    data: Folder | Path | str, split: Split, *, batch_size: int, seed: int, excerpt: Excerpt | None = None
) -> SequenceStream:
    """The stream of a split, with all of its factors, the same on every rank.

    Raises:
        ShardError, ValueError: As `SequenceStream`.
    """
    folder = open_folder(data) / split
    factors = tuple(load_manifest(folder).factors)
    return SequenceStream(folder, batch_size, seed=seed, factors=factors, rank=0, ranks=1, excerpt=excerpt)


def frame_shape(features: Features) -> tuple[int, ...]:
    """(C, H, W) of the frames of clips, (n_mels,) of those of segments.

    >>> frame_shape(Features((8, 64, 32, 3)))
    (3, 64, 32)
    """
    _, *frame = features.shape
    return (frame[2], frame[0], frame[1]) if len(frame) == 3 else tuple(frame)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device, copied to a GPU without blocking; `indices` stay, as views are drawn on the host."""
    if device.type == "cpu":
        return batch
    pinned = batch.pin_memory() if device.type == "cuda" else batch
    return replace(pinned.to(device, non_blocking=True), indices=batch.indices)


class TrainingData(LightningDataModule):
    """The training split of a prepared data set, each rank its part of every batch, and the validation split.

    Arguments are those of `TrainConfig` of the same names, and the factors that batches have.

    Raises:
        ShardError, ValueError: As `SequenceStream`; also if records have fewer than `min_frames` frames, or cannot be
            made from the digits of `make_from`.
    """

    def __init__(
        self,
        data: Folder | Path | str,
        *,
        batch_size: int,
        min_frames: int,
        lanes: int | None = None,
        window: int | None = None,
        last: Last = "keep",
        seed: int = 0,
        factors: Iterable[str] = (),
        make_from: str | None = None,
        excerpt: Excerpt | None = None,
    ) -> None:
        super().__init__()
        self.folder = open_folder(data)
        self._options: dict[str, Any] = {"batch_size": batch_size, "seed": seed, "factors": tuple(factors)}
        self.excerpt = excerpt
        self.stream: BatchStream
        if make_from is None:
            stored = self.folder / "train"
            mixing: dict[str, Any] = {} if window is None else {"window": window}
            if lanes is not None:
                mixing["lanes"] = min(lanes, len(load_manifest(stored).shards))
            self.stream = SequenceStream(stored, last=last, excerpt=excerpt, **mixing, **self._options)
        else:
            self.stream = MadeStream(_maker(self.folder / "train", make_from), last=last, **self._options)
        least, frames = self.stream.info.features.frames
        if least < min_frames:
            found = f"{frames}" if least == frames else f"{least} to {frames}"
            required = f"the configuration wants at least {min_frames}"
            raise ValueError(f"the records of {data} have {found} frames, {required}")

    def validation(self) -> SequenceStream | None:
        """The validation split, the same on every rank, or None if there is none."""
        if not (self.folder / "val").exists():
            return None
        excerpt = None if self.excerpt is None else replace(self.excerpt, place="centre")
        return SequenceStream(self.folder / "val", rank=0, ranks=1, excerpt=excerpt, **self._options)

    def train_dataloader(self) -> BatchStream:
        """The stream, of which each rank yields its part."""
        return self.stream

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """As `to_device`."""
        return to_device(batch, device)


def _maker(split: Folder, make_from: str) -> MovingDigits:
    try:
        return made_like(load_manifest(split), read_digits(make_from))
    except ShardError:
        raise
    except ValueError as error:
        raise ValueError(f"{split} cannot be made from the digits {make_from}: {error}") from None
