import collections
import io
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stored_records import encoded_clips

from seqviews.pipeline.datasets.bounce import bounce_many, path_words
from seqviews.pipeline.datasets.digits import Digits, sklearn_digits
from seqviews.pipeline.datasets.smmnist import MovingDigits, made_like, resize
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
        ({"frames": 20_001}, "1 to 20000"),
        ({"size": 15}, "15 pixels"),
        ({"size": 5000}, "16 to 4096"),
        ({"digit_size": 3}, "digits of 3 pixels: the size must be 4 to 63"),
        ({"digit_size": 64}, "digits of 64 pixels"),
        ({"digits": solid_digits(2)}, "digit 0 has 2 images, too few for three splits"),
    ],
)
def test_invalid_arguments(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is checked as plain text)
        MovingDigits(**{"digits": solid_digits(), "clips": (1, 1, 1), **change})
    assert message in str(caught.value)


def test_the_json_of_the_longest_trajectory_fits_a_record() -> None:
    widest = [[[4081.5, 4081.5]] * 2] * 20_000
    assert len(json.dumps(widest, separators=(",", ":"))) < 1_000_000  # the limit of a record


@pytest.mark.parametrize("count", [1, 2])
def test_made_clips_are_painted_like_prepared_ones_from_digits_of_the_training_split(count: int) -> None:
    """The images and paths that the words of a record name, painted digit by digit as integers."""
    digits, frames = solid_digits(5, side=14), 12
    dataset = MovingDigits(digits, (50, 1, 1), digits_per_clip=count, frames=frames, size=32)
    pool = {clip_of(dataset, "train-000000", seed).source.partition("+")[0] for seed in range(300)}
    x, factors = dataset.make(7, 3, range(40))
    assert (x.dtype.name, x.shape, factors["digits"].dtype.name) == ("uint8", (40, frames, 32, 32, 1), "int64")
    assert (factors["trajectory"].dtype.name, factors["trajectory"].shape) == ("float32", (40, frames, count, 2))
    names = dataset.info.static["digits"] or []
    clipped, reordered = 0, 0
    for index in range(40):
        words = np.random.PCG64(np.random.SeedSequence((7, 3, index))).random_raw(count * (1 + path_words(frames)))
        paths = bounce_many(words[count:].reshape(count, -1), frames, 18, 2)
        tracks = np.moveaxis(factors["trajectory"][index], 1, 0)
        order = [int(np.flatnonzero((paths + 6.5 == track).all(axis=(1, 2)))[0]) for track in tracks]
        assert sorted(order) == list(range(count))
        reordered += order != sorted(order)
        boxes = np.zeros((count, frames, 32, 32), np.int64)
        for digit, time in itertools.product(range(count), range(frames)):
            column, row = paths[order[digit], time]
            boxes[digit, time, row : row + 14, column : column + 14] = 1
        clip = x[index, ..., 0]
        greys = [int(np.unique(clip[(box == 1) & (boxes.sum(0) == 1)]).item()) for box in boxes]
        painted = sum(box * grey for box, grey in zip(boxes, greys, strict=True))
        np.testing.assert_array_equal(clip, np.minimum(painted, 255))
        clipped += int(clip.max() == 255)
        assert {f"solid-{grey - 100:05d}" for grey in greys} <= pool
        shown = [int(digits.labels[grey - 100]) for grey in greys]
        assert shown == sorted(shown)
        assert names[factors["digits"][index]] == "+".join(map(str, shown))
    assert count == 1 or min(clipped, reordered) > 5


def test_made_clips_are_distributed_like_prepared_ones() -> None:
    dataset = MovingDigits(solid_digits(10), (1, 0, 0), digits_per_clip=2, frames=20, size=32)
    x, factors = dataset.make(0, 0, range(2000))
    clips = [clip_of(dataset, seed=seed) for seed in range(2000)]
    tracks = [factors["trajectory"], np.array([clip.factors["trajectory"] for clip in clips])]
    classes = [factors["digits"], np.array([clip.factors["digits"] for clip in clips])]
    equal = [number for number, name in enumerate(dataset.info.static["digits"] or []) if name[0] == name[2]]
    assert [np.isin(found, equal).mean() for found in classes] == pytest.approx([0.1, 0.1], abs=0.03)
    assert len(np.unique(classes[0])) == 55
    speeds = [np.abs(np.diff(track, axis=1)).mean() for track in tracks]
    turns = [(np.diff(track, 2, axis=1) != 0).any(axis=(2, 3)).mean() for track in tracks]
    brightness = [x.mean(), np.mean([clip.frames.mean() for clip in clips])]
    for made, prepared in (speeds, turns, brightness):
        assert made == pytest.approx(prepared, rel=0.05)


def test_the_data_set_that_a_manifest_describes(prepared: Path) -> None:
    manifest, digits = load_manifest(prepared / "train"), sklearn_digits()
    made = made_like(manifest, digits)
    again = MovingDigits(digits, (300, 100, 100), digits_per_clip=2, frames=3, size=32)
    assert (made.info, made.parameters) == (again.info, again.parameters)
    small = MovingDigits(digits, (1, 0, 0), size=32, digit_size=20)
    assert (small.box, small.parameters["digit_size"]) == (20, 20)
    with pytest.raises(ValueError, match="they are not the digits of the stored clips: their SHA-256 begins with"):
        made_like(manifest, solid_digits())
    with pytest.raises(ValueError, match="clips of toy cannot be made anew: only those of prepare_smmnist can"):
        made_like(replace(manifest, dataset=replace(manifest.dataset, name="toy")), digits)


def test_digits_of_which_a_class_is_missing() -> None:
    digits = solid_digits()
    kept = digits.labels != 4
    with pytest.raises(ValueError, match="the digit 4 has 0 images, too few for three splits"):
        MovingDigits(replace(digits, images=digits.images[kept], labels=digits.labels[kept]), (9, 1, 1))
