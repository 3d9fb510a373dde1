"""Excerpts: compared with slices of the whole records, which were never stored."""

from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from toy_lengths import LENGTHS, clip_features, segment_features, whole_records, write

from seqviews.pipeline.features import Codec
from seqviews.pipeline.records import Batch, Clip, Segment
from seqviews.pipeline.shards import codec
from seqviews.pipeline.shards.images import decode_image
from seqviews.pipeline.stream.excerpt import Excerpt
from seqviews.pipeline.stream.recordset import RecordSet
from seqviews.pipeline.stream.stream import SequenceStream

SOURCES = ["a", "b", "c", "d", "e"]
PAGES = clip_features(page_frames=4)


@pytest.fixture(scope="module")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 clips of 5 to 30 frames in pages of 4."""
    return write(tmp_path_factory.mktemp("paged") / "toy", PAGES, SOURCES)


def excerpts(stream: SequenceStream) -> list[tuple[str, int, bytes]]:
    """Key, first frame and contents of each record of an epoch."""
    found = []
    for batch in stream:
        assert batch.starts is not None
        assert batch.lengths is None
        frames = batch.x.permute(0, 1, 3, 4, 2)
        found += [(k, int(s), x.numpy().tobytes()) for k, s, x in zip(batch.keys, batch.starts, frames, strict=True)]
    return found


@given(
    st.integers(1, 6), st.integers(1, 3), st.sampled_from(["random", "first", "centre", "all"]),
    st.fixed_dictionaries({"seed": st.integers(0, 3), "lanes": st.integers(1, 3), "window": st.integers(1, 2)}),
    st.integers(1, 9), st.integers(1, 3),
)  # fmt: skip
@settings(deadline=None, max_examples=25)
def test_excerpts_are_slices_and_each_comes_once(
    paged: Path, frames: int, step: int, place: str, order: dict[str, Any], size: int, ranks: int
) -> None:
    excerpt, ranks = Excerpt(frames, step, place), min(ranks, size)  # type: ignore[arg-type]  # one of the places
    span = (frames - 1) * step + 1
    whole = {key: record for key, record in whole_records(PAGES, SOURCES).items() if isinstance(record, Clip)}
    parts = [
        excerpts(SequenceStream(paged, size, rank=rank, ranks=ranks, threads=rank + 1, excerpt=excerpt, **order))
        for rank in range(ranks)
    ]
    found = [record for part in parts for record in part]
    for key, start, contents in found:
        part = whole[key].frames[start : start + span : step]
        assert (len(part), part.tobytes()) == (frames, contents)
    fits = {key: len(record.frames) for key, record in whole.items() if len(record.frames) >= span}
    if place == "all":
        expected = {(key, s) for key, length in fits.items() for s in range(0, length - span + 1, frames * step)}
        assert sorted((key, start) for key, start, _ in found) == sorted(expected)
    else:
        assert sorted(key for key, _, _ in found) == sorted(fits)
    alone = excerpts(SequenceStream(paged, 7, excerpt=excerpt, **order))
    assert sorted(alone) == sorted(found), "neither ranks nor batches nor threads move an excerpt"
    if place == "centre":
        assert all(abs(start - (fits[key] - span - start)) <= 1 for key, start, _ in found)


def test_random_places_are_uniform_and_independent_of_each_other() -> None:
    excerpt, names = Excerpt(frames=4, step=2), list(product(range(10), range(30), range(30)))
    starts = [excerpt.of(13, seed, epoch, index).start for seed, epoch, index in names]
    counts = Counter(starts)
    assert sorted(counts) == list(range(7))
    expected = len(starts) / 7
    assert sum((count - expected) ** 2 for count in counts.values()) / expected < 24  # chi-square, p = 0.0005
    later = [excerpt.of(13, seed, epoch + 1, index).start for seed, epoch, index in names]
    assert abs(np.corrcoef(starts, later)[0, 1]) < 0.05
    assert list(excerpt.of(7, 3, 4, 5)) == [0, 2, 4, 6]


def test_an_epoch_resumes_with_its_excerpts(paged: Path) -> None:
    stream = SequenceStream(paged, 4, excerpt=Excerpt(3), seed=5)
    first, second = excerpts(stream), excerpts(stream)
    assert [key for key, _, _ in first] != [key for key, _, _ in second]
    assert {key: start for key, start, _ in first} != {key: start for key, start, _ in second}
    batches = iter(stream)
    next(batches)
    state = stream.state_dict()
    batches.close()  # type: ignore[attr-defined]  # it is a generator
    resumed = SequenceStream(paged, 4, excerpt=Excerpt(3), seed=5)
    resumed.load_state_dict(state)
    third = SequenceStream(paged, 4, excerpt=Excerpt(3), seed=5)
    third.set_epoch(2)
    assert excerpts(resumed) == excerpts(third)[4:]
    for other in (None, Excerpt(4), Excerpt(3, step=2), Excerpt(3, place="first")):
        with pytest.raises(ValueError, match="excerpt"):
            SequenceStream(paged, 4, excerpt=other, seed=5).load_state_dict(state)


def test_only_the_pages_that_an_excerpt_touches_are_decoded(paged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []

    def counted(data: memoryview, codec: Codec, quality: int | None, out: NDArray[np.uint8]) -> None:
        decoded.append(len(out))
        decode_image(data, codec, quality, out)

    monkeypatch.setattr(codec, "decode_image", counted)
    records = RecordSet(paged)
    first = next(i for i, key in enumerate(records.batch(range(30)).keys) if key.endswith("-5"))  # 30 frames
    for excerpt, pages in ((Excerpt(4, place="first"), [4]), (Excerpt(5, place="first"), [4, 4])):
        decoded.clear()
        records.batch([first], excerpt=excerpt)
        assert decoded == pages
    decoded.clear()
    records.batch([first], excerpt=Excerpt(3, step=12, place="first"))  # frames 0, 12 and 24
    assert decoded == [4, 4, 4]
    decoded.clear()
    records.batch([first])
    assert decoded == [4] * 7 + [2]


def test_records_shorter_than_the_excerpt_are_skipped_and_counted(
    paged: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stream = SequenceStream(paged, 4, excerpt=Excerpt(9, step=2))
    assert (len(excerpts(stream)), stream.records, stream.sets[0].skipped) == (15, 15, 15)
    assert "15 records are shorter than the 17 frames of an excerpt: they are skipped" in caplog.text
    with pytest.raises(
        ValueError, match=r"an excerpt of 31 frames, every 1th, has 31, and no record of .* more than 30"
    ):
        SequenceStream(paged, 4, excerpt=Excerpt(31))
    short = RecordSet(paged, where=lambda factors: factors["time"] == list(range(5)))
    with pytest.raises(ValueError, match=r"no record of .* that is kept has the 6 frames"):
        SequenceStream(short, 4, excerpt=Excerpt(6))
    with pytest.raises(ValueError, match="fewer than the 31 of the excerpt"):
        RecordSet(paged).batch([0], excerpt=Excerpt(31))


@pytest.mark.parametrize("arguments", [{"frames": 0}, {"frames": 1, "step": 0}, {"frames": 1, "place": "last"}])
def test_excerpts_out_of_range(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="is not an excerpt: frames and step are at least 1, place one of random"):
        Excerpt(**arguments)  # type: ignore[arg-type]  # as a user may


def test_segments_are_cut_and_padded_with_their_other_voices(tmp_path: Path) -> None:
    features = segment_features()
    split = write(tmp_path / "toy", features, SOURCES)
    whole = {key: r for key, r in whole_records(features, SOURCES).items() if isinstance(r, Segment)}
    for batch in SequenceStream(split, 4, excerpt=Excerpt(3, step=2), factors=["kind", "time"]):
        assert batch.converted is not None
        assert batch.starts is not None
        for i, key in enumerate(batch.keys):
            frames = range(int(batch.starts[i]), int(batch.starts[i]) + 5, 2)
            np.testing.assert_array_equal(batch.x[i], whole[key].mel[frames])
            np.testing.assert_array_equal(batch.converted[i], whole[key].converted[:, frames])  # type: ignore[index]
            assert batch.factors["time"][i].tolist() == list(frames)
    for batch in SequenceStream(split, 4, factors=["kind", "time"]):
        check_padding(batch)
        for i, key in enumerate(batch.keys):
            length = len(whole[key].mel)
            assert batch.lengths is not None
            assert int(batch.lengths[i]) == length
            np.testing.assert_array_equal(batch.x[i, :length], whole[key].mel)
            np.testing.assert_array_equal(batch.converted[i, :, :length], whole[key].converted)  # type: ignore[index]


def check_padding(batch: Batch) -> None:
    """The batch is as long as its longest record, and 0 after each."""
    assert batch.lengths is not None
    assert batch.lengths.dtype == torch.int64
    longest = int(batch.lengths.max())
    assert (batch.x.shape[1], batch.factors["time"].shape[1]) == (longest, longest)
    padding = torch.arange(longest) >= batch.lengths[:, None]
    assert padding.any() or len(set(batch.lengths.tolist())) == 1
    assert not batch.x[padding].any()
    assert not batch.factors["time"][padding].any()
    if batch.converted is not None:
        assert batch.converted.shape[2] == longest
        assert not batch.converted.transpose(1, 2)[padding].any()


@pytest.mark.parametrize("page_frames", [None, 4])
def test_whole_clips_are_padded(tmp_path: Path, page_frames: int | None) -> None:
    features = clip_features(codec="npy", page_frames=page_frames)
    split = write(tmp_path / "toy", features, SOURCES)
    whole = {key: r for key, r in whole_records(features, SOURCES).items() if isinstance(r, Clip)}
    lengths = []
    for batch in SequenceStream(split, 4, factors=["time"]):
        check_padding(batch)
        assert batch.lengths is not None
        assert batch.x.stride(2) == 1, "frames stay channels last"
        lengths += batch.lengths.tolist()
        for key, x, length in zip(batch.keys, batch.x, batch.lengths.tolist(), strict=True):
            np.testing.assert_array_equal(x[:length].permute(0, 2, 3, 1), whole[key].frames)
    assert sorted(lengths) == sorted(LENGTHS * len(SOURCES))
    moved = batch.to("cpu")
    assert moved.lengths is not None
    assert moved.starts is None


def test_sets_of_other_lengths_are_mixed_in_excerpts_only(paged: Path, toy: Path) -> None:
    sets = [paged, toy / "train"]
    with pytest.raises(ValueError, match=r"clips of \[4, 16.*, but .* clips of \[30, 16, 16, 3\] and down to 5"):
        SequenceStream(sets, 4)
    stream = SequenceStream(sets, 8, excerpt=Excerpt(4))
    assert len(excerpts(stream)) == 66
    assert stream.info.features.frames == (4, 4)
