import collections
import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stored_records import encoded_clips

from seqviews.pipeline.datasets.digits import Digits, sklearn_digits
from seqviews.pipeline.datasets.smmnist import MovingDigits, bounce, resize
from seqviews.pipeline.manifest import SPLITS, load_manifest
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.records import Clip


def solid_digits(a_class: int = 3, side: int = 28) -> Digits:
    """Digits that fill their box with one grey, 100 plus their number, so that a pixel identifies the digit."""
    labels = np.repeat(np.arange(10, dtype=np.uint8), a_class)
    images = np.broadcast_to((100 + np.arange(len(labels)))[:, None, None], (len(labels), side, side)).astype(np.uint8)
    return Digits("solid", images, labels, "none", "nobody")


def clip_of(dataset: MovingDigits, source: str = "train-000000", seed: int = 0) -> Clip:
    (clip,) = dataset.records(source, np.random.default_rng(seed))
    return clip


@pytest.mark.parametrize(("old", "new"), [(8, 28), (8, 14), (28, 56), (28, 14), (28, 21), (9, 14), (12, 12)])
def test_resize_is_pillows_bicubic(old: int, new: int) -> None:
    image = np.random.default_rng(old * new).integers(0, 256, (old, old), dtype=np.uint8)
    pillow = Image.fromarray(image.astype(np.float32)).resize((new, new), Image.Resampling.BICUBIC)
    difference = resize(image, new) - np.asarray(pillow).clip(0, 255).astype(np.float64)
    assert np.abs(difference).max() <= (0.5 + 1e-3 if old != new else 0)


@pytest.mark.parametrize(("limit", "speed"), [(36, 4), (18, 2), (2, 1), (1, 4)])
def test_a_path_stays_in_the_frame_and_turns_at_walls_only(limit: int, speed: int) -> None:
    turns: list[tuple[int, int]] = []
    for seed in range(30):
        path = bounce(np.random.default_rng(seed), 60, limit, speed)
        assert 0 <= path.min() <= path.max() <= limit
        steps = np.diff(path, axis=0)
        assert np.abs(steps).max() <= speed
        at_wall = ((path == 0) | (path == limit)).any(axis=1)
        for t in range(1, len(steps)):
            if (steps[t] != steps[t - 1]).any():
                assert at_wall[t] or at_wall[t + 1], "the velocity changed away from the walls"
                turns.append(tuple(steps[t].tolist()))
    assert len(turns) > 50
    assert len(set(turns)) > 2 * speed  # not a mirror: any velocity away from the wall can follow


def test_a_step_over_the_wall_ends_at_it_and_the_next_one_leads_away() -> None:
    turned_along: list[bool] = []
    for seed in range(200):
        path = bounce(np.random.default_rng(seed), 40, 36, 4).tolist()
        for before, a, b, c in zip(path, path[1:], path[2:], path[3:], strict=False):
            step, cut = a[0] - before[0], b[0] - a[0]
            if 0 < a[1] < 36 and b[0] in (0, 36) and abs(cut) < abs(step) and cut * step > 0:
                assert 1 <= (c[0] - b[0]) * (1 if b[0] == 0 else -1) <= 4
                turned_along.append(c[1] - b[1] != b[1] - a[1])
    assert len(turned_along) > 50
    assert np.mean(turned_along) > 0.5  # the velocity along the wall is drawn again too


@pytest.mark.parametrize(("size", "box", "speed"), [(16, 8, 1), (32, 14, 2), (48, 21, 3), (64, 28, 4), (128, 56, 8)])
def test_the_digit_is_at_its_trajectory_and_scales_with_the_frame(size: int, box: int, speed: int) -> None:
    dataset = MovingDigits(solid_digits(), (1, 0, 0), frames=25, size=size)
    assert (dataset.box, dataset.speed) == (box, speed)
    clip = clip_of(dataset)
    assert (clip.frames.shape, clip.frames.dtype.name) == ((25, size, size, 1), "uint8")
    trajectory = clip.factors["trajectory"]
    for frame, centres in zip(clip.frames[..., 0], trajectory, strict=True):  # type: ignore[arg-type]
        rows, columns = np.nonzero(frame)
        assert [[columns.mean(), rows.mean()]] == centres
        assert len(rows) == box**2
        assert np.ptp(rows) == np.ptp(columns) == box - 1
    json.dumps(trajectory)  # plain numbers


def test_two_digits_add_and_clip_in_the_order_of_their_classes() -> None:
    digits = solid_digits(5)
    dataset = MovingDigits(digits, (1, 0, 0), digits_per_clip=2, frames=10)
    names = dataset.info.static["digits"] or []
    assert names == [f"{a}+{b}" for a in range(10) for b in range(10) if a <= b]
    sums, clipped, equal_classes = 0, 0, 0
    for seed in range(120):
        clip = clip_of(dataset, seed=seed)
        images = [int(name.removeprefix("solid-")) for name in clip.source.split("+")]
        classes = [int(digits.labels[image]) for image in images]
        assert images[0] != images[1]
        assert names[clip.factors["digits"]] == f"{classes[0]}+{classes[1]}"  # type: ignore[index]
        trajectory = np.array(clip.factors["trajectory"])
        assert trajectory.shape == (10, 2, 2)
        if classes[0] == classes[1]:
            equal_classes += 1
            assert trajectory[0, 0, 0] <= trajectory[0, 1, 0]
        for frame, centres in zip(clip.frames[..., 0], trajectory, strict=True):
            expected = np.zeros((64, 64), np.int64)
            for image, (x, y) in zip(images, centres, strict=True):
                expected[int(y - 13.5) : int(y + 14.5), int(x - 13.5) : int(x + 14.5)] += 100 + image
            np.testing.assert_array_equal(frame, np.minimum(expected, 255))
            sums += int(150 <= expected.max() <= 255)
            clipped += int(expected.max() > 255)
    assert np.greater([sums, clipped, equal_classes], [100, 20, 2]).all()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("smmnist") / "two-digits"
    dataset = MovingDigits(sklearn_digits(), (300, 100, 100), digits_per_clip=2, frames=3, size=32)
    prepare(dataset, out, shard_sources=60, workers=2)
    return out


def test_stored_clips_match_the_manifest_and_splits_share_no_digit_image(prepared: Path) -> None:
    facts = {split: [about for _, about in encoded_clips(prepared / split).values()] for split in SPLITS}
    used = {split: {image for about in facts[split] for image in about["source"].split("+")} for split in SPLITS}
    for a, b in itertools.combinations(SPLITS, 2):
        assert not used[a] & used[b]
    assert len(used["train"]) > 300
    labels = sklearn_digits().labels
    for images in used.values():
        assert {int(labels[int(image.removeprefix("sklearn-"))]) for image in images} == set(range(10))
    for split, count in zip(SPLITS, (300, 100, 100), strict=True):
        manifest = load_manifest(prepared / split)
        records = encoded_clips(prepared / split)
        assert sorted(records) == [f"{split}-{i:06d}" for i in range(count)]
        assert (len(manifest), manifest.dataset.features.shape) == (count, (3, 32, 32, 1))
        assert (manifest.factors["trajectory"], manifest.dataset.licence) == (None, "CC-BY-4.0")
        for frames, about in records.values():
            image = np.asarray(Image.open(io.BytesIO(frames)))
            assert (image.shape, np.array(about["factors"]["trajectory"]).shape) == ((96, 32, 3), (3, 2, 2))
            assert (image[..., :1] == image).all()
    assert max(collections.Counter(about["factors"]["digits"] for about in facts["test"]).values()) < 15


def test_the_seed_moves_no_image_to_another_split() -> None:
    dataset = MovingDigits(solid_digits(10), (1, 1, 1), frames=1)
    used = {split: {clip_of(dataset, f"{split}-000000", seed).source for seed in range(1000)} for split in SPLITS}
    assert {split: len(images) for split, images in used.items()} == {"train": 80, "val": 10, "test": 10}
    assert len(set().union(*used.values())) == 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clips": (-1, 5, 5)}, "give three counts"),
        ({"clips": (0, 0, 0)}, "give three counts"),
        ({"digits_per_clip": 3}, "only 1 or 2"),
        ({"frames": 0}, "0 frames"),
        ({"frames": 256}, "256 frames of 64 rows are more than WebP's 16383 rows: use --codec npy"),
        ({"frames": 20_001, "codec": "npy"}, "1 to 20000"),
        ({"size": 15}, "15 pixels"),
        ({"size": 5000}, "16 to 4096"),
        ({"digits": solid_digits(2)}, "digit 0 has 2 images, too few for three splits"),
    ],
)
def test_invalid_arguments(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is checked as plain text)
        MovingDigits(**{"digits": solid_digits(), "clips": (1, 1, 1), **change})
    assert message in str(caught.value)


def test_the_longest_clips_and_the_json_of_the_longest_trajectory() -> None:
    MovingDigits(solid_digits(), (1, 0, 0), frames=255)
    assert len(clip_of(MovingDigits(solid_digits(), (1, 0, 0), frames=256, codec="npy")).frames) == 256
    widest = [[[4081.5, 4081.5]] * 2] * 20_000
    assert len(json.dumps(widest, separators=(",", ":"))) < 1_000_000  # the limit of a record
