"""The splits of a prepared data set, as training and evaluation read them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning import LightningDataModule

from seqviews.pipeline.manifest import Features, Split, load_manifest
from seqviews.pipeline.storage.folder import Folder
from seqviews.pipeline.storage.urls import open_folder
from seqviews.pipeline.stream.order import Last
from seqviews.pipeline.stream.stream import SequenceStream


def split_stream(data: Folder | Path | str, split: Split, *, batch_size: int, seed: int) -> SequenceStream:
    """The stream of a split, with all of its factors.

    Raises:
        ShardError, ValueError: As `SequenceStream`.
    """
    folder = open_folder(data) / split
    return SequenceStream(folder, batch_size, seed=seed, factors=tuple(load_manifest(folder).factors))


def frame_shape(features: Features) -> tuple[int, ...]:
    """(C, H, W) of the frames of clips, (n_mels,) of those of segments.

    >>> frame_shape(Features((8, 64, 32, 3)))
    (3, 64, 32)
    """
    _, *frame = features.shape
    return (frame[2], frame[0], frame[1]) if len(frame) == 3 else tuple(frame)


class TrainingData(LightningDataModule):
    """The training split of a prepared data set, each rank its part of every batch, and the validation split.

    Arguments are those of `TrainConfig` of the same names, and the factors that batches have.

    Raises:
        ShardError, ValueError: As `SequenceStream`; also if records have fewer than `min_frames` frames.
    """

    def __init__(
        self,
        data: Folder | Path | str,
        *,
        batch_size: int,
        min_frames: int,
        last: Last = "keep",
        seed: int = 0,
        factors: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.folder, self.last = open_folder(data), last
        self._options: dict[str, Any] = {"batch_size": batch_size, "seed": seed, "factors": tuple(factors)}
        self.stream = self._stream()
        frames = self.stream.manifest.dataset.features.shape[0]
        if frames < min_frames:
            required = f"the configuration wants at least {min_frames}"
            raise ValueError(f"the records of {data} have {frames} frames, {required}")

    def validation(self) -> SequenceStream | None:
        """The validation split, the same on every rank, or None if there is none."""
        if not (self.folder / "val").exists():
            return None
        return SequenceStream(self.folder / "val", **self._options)

    def _stream(self, rank: int = 0, ranks: int = 1) -> SequenceStream:
        return SequenceStream(self.folder / "train", rank=rank, ranks=ranks, last=self.last, **self._options)

    def train_dataloader(self) -> SequenceStream:
        """The stream of this rank."""
        assert self.trainer is not None
        if self.trainer.world_size > 1:
            self.stream = self._stream(self.trainer.global_rank, self.trainer.world_size)
        return self.stream
