"""The peers deliver consecutive frames of the whole clips, whichever pages they read; each loader has measurements."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_lengths import ToyLengths, clip_features

from seqviews.pipeline import SequenceStream
from seqviews.pipeline.features import Features
from seqviews.pipeline.prepare.write import write_shards
from seqviews.pipeline.storage.local import LocalFolder
from seqviews.tools.benchmarks.excerpts import FRAMES, PEERS, bench_excerpts, excerpts_by_webdataset

LENGTHS = (15, 16, 23, 30)


def written(out: Path, features: Features, sources: int = 8) -> Path:
    """Prepare the split train, a source a shard."""
    toy = ToyLengths(replace(features, min_frames=min(LENGTHS)), LENGTHS)
    write_shards({"train": [f"s{i}" for i in range(sources)]}, out, toy.records, toy.info, shard_sources=1)
    return out


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("clips") / "toy", clip_features(codec="jpeg", page_frames=4))


@pytest.mark.parametrize("touched", PEERS.values())
def test_a_peer_delivers_consecutive_frames_of_every_clip(clips: Path, touched: bool) -> None:
    stream = SequenceStream(clips / "train", 5)
    shards = [str(path) for path in (clips / "train").glob("*.tar")]
    whole: dict[str, torch.Tensor] = {}
    for batch in stream:
        assert batch.lengths is not None
        padded = zip(batch.keys, batch.x.movedim(2, -1), batch.lengths, strict=True)
        whole |= {key: frames[:length] for key, frames, length in padded}
    found: dict[str, torch.Tensor] = {}
    for x, keys in excerpts_by_webdataset(shards, stream, touched, workers=0):
        found |= dict(zip(keys, x, strict=True))
    assert found.keys() == whole.keys()
    for key, excerpt in found.items():
        slices = whole[key].unfold(0, FRAMES, 1).movedim(-1, 1)
        distances = (slices.int() - excerpt.int()).abs().flatten(1).amax(1)
        assert distances.min() <= 2  # two decoders may round differently; the frames are far apart
        assert (distances <= 2).sum() == 1


def test_every_loader_has_both_measurements(clips: Path) -> None:
    result = bench_excerpts(LocalFolder(clips), rounds=1)
    assert list(result["loaders"]) == ["ours", *PEERS]
    assert result["ratios"].keys() == PEERS.keys()
    for row in result["loaders"].values():
        assert row["clips_per_second"] > 0
        assert row["processor_us_per_clip"] >= 0


def test_clips_without_pages_of_jpeg_are_an_error(tmp_path: Path) -> None:
    out = written(tmp_path / "webp", clip_features(), sources=1)
    with pytest.raises(ValueError, match=r"has no pages of JPEG: prepare .* --codec jpeg --page-frames N"):
        bench_excerpts(LocalFolder(out), rounds=1)
