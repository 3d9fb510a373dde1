"""MUG: who is in which split, the records, and takes that cannot be used."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from mug_trees import picture, write_tree
from numpy.typing import NDArray
from PIL import Image
from toy_clips import digests

from seqviews.pipeline.datasets import mug_takes
from seqviews.pipeline.datasets.mug import Mug, assign_people, survey_mug
from seqviews.pipeline.datasets.mug_takes import EXPRESSIONS, TakeReader, find_takes
from seqviews.pipeline.prepare.failures import Failure
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.shards.check import check_dataset
from seqviews.pipeline.sources.faces import MARGIN, Box
from seqviews.pipeline.sources.video import fit, read_image

CENTRE = TakeReader("centre", min_frames=5)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "mug" / "subjects3").parent


def survey(folder: Path, reader: TakeReader = CENTRE, *, strict: bool = False, seed: int = 0) -> Mug:
    found = find_takes(folder)
    return survey_mug(
        found, assign_people(sorted({t.subject for t in found.takes}), seed), reader, size=16, strict=strict
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_people_are_in_one_split_by_seed(seed: int) -> None:
    people = [f"{number:03d}" for number in range(1, 53)]
    splits = assign_people(people, seed)
    assert [list(splits.values()).count(split) for split in ("train", "val", "test")] == [34, 5, 13]
    assert (splits == assign_people(people)) == (seed == 0)
    with pytest.raises(ValueError, match="there are 2 people"):
        assign_people(people[:2])


def test_the_records_are_the_pictures(tree: Path, tmp_path: Path) -> None:
    mug = survey(tree)
    for workers in (1, 2):
        prepare(mug, tmp_path / str(workers), workers=workers, shard_sources=4)
    assert digests(tmp_path / "1") == digests(tmp_path / "2")
    checks = check_dataset(tmp_path / "1", identity=["subject"])
    assert [(found.records, found.problems) for found in checks.values()] == [(12, []), (6, []), (6, [])]
    assert mug.info.features.frames == (5, 10)
    assert (mug.info.static, mug.info.dynamic) == (
        {"subject": ["001", "002", "003", "004"]},
        {"expression": [*EXPRESSIONS]},
    )
    (clip,) = mug.records("002/happiness/take000", np.random.default_rng())
    assert (clip.key, clip.factors, clip.rate) == ("002-happiness-take000", {"subject": 1, "expression": 3}, 19.0)
    folder = tree / "subjects3" / "002" / "happiness" / "take000"
    expected = [np.asarray(Image.open(folder / f"img_{i:04d}.jpg"))[3:21, 7:25] for i in range(8)]  # 3/4 of 24 rows
    np.testing.assert_array_equal(clip.frames, [fit(pixels, 16, grey=False) for pixels in expected])


KINDS: dict[str, Callable[[Path], None]] = {"folder": Path.mkdir, "pipe": os.mkfifo}
CONTENTS: dict[str, Callable[[bytes], bytes]] = {
    "no bytes": lambda data: b"",
    "png": lambda data: bytes(imagecodecs.png_encode(picture(np.random.default_rng(0)))),
    "bomb": lambda data: re.sub(rb"(?s)(\xff\xc0.{3}).{4}", b"\\1\xff\xdc\xff\xdc", data),
}
FAULTS = ["empty", "short", "sizes", "cut", "cmyk", "16 bits", "link", "odd name", *KINDS, *CONTENTS]


def broken(folder: Path, fault: str) -> str:
    """Give a take a fault; returns a part of the message."""
    image = folder / "img_0002.jpg"
    if fault == "empty":
        for path in folder.iterdir():
            path.rename(path.with_suffix(".txt"))
        return "has no images"
    if fault == "short":
        image.unlink()
        return "has 4 pictures, fewer than 5"
    if fault == "sizes":
        image.write_bytes(imagecodecs.jpeg_encode(picture(np.random.default_rng(0), 32, 32)))
        return "img_0000.jpg is 32 x 24 and img_0002.jpg is 32 x 32"
    if fault == "cut":
        image.write_bytes(image.read_bytes()[:-40])
        return "img_0002.jpg is truncated"
    if fault == "cmyk":
        Image.new("CMYK", (32, 24)).save(image)
        return "img_0002.jpg is uint8 with 4 channels: convert it to 8 bits"
    if fault in KINDS:
        image.unlink()
        KINDS[fault](image)
        return "img_0002.jpg is not a file"
    if fault == "link":
        image.unlink()
        image.symlink_to("nowhere")
        return "No such file"
    if fault in CONTENTS:
        image.write_bytes(CONTENTS[fault](image.read_bytes()))
        return "128 million pixels" if fault == "bomb" else "img_0002.jpg cannot be decoded"
    if fault == "odd name":
        odd = os.fsdecode(b"img_\xff\n.jpg")
        image.rename(folder / odd).write_bytes(b"")
        return f"{odd} cannot be decoded"
    assert fault == "16 bits"
    image.unlink()
    (folder / "img_0002.png").write_bytes(imagecodecs.png_encode(np.zeros((24, 32, 3), np.uint16)))
    return "img_0002.png is uint16 with 3 channels: convert it to 8 bits"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_take_that_cannot_be_used_is_skipped_and_counted(tree: Path, fault: str) -> None:
    folder = tree / "subjects3" / "002" / "anger" / "take000"
    message = broken(folder, fault)
    mug = survey(tree)
    kind = fault if fault in ("empty", "short", "sizes") else "damaged"
    assert mug.left_out["skipped"] == {kind: 1}
    assert len(mug.takes) == 4 * 6 - 1
    assert message in str(mug.skipped[0])
    assert str(folder) in str(mug.skipped[0])
    with pytest.raises(ValueError, match="take000") as caught:
        survey(tree, strict=True)
    assert message in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_take_that_must_not_be_read_is_skipped_and_counted() -> None:
    folder = Path(tempfile.mkdtemp())  # its parents are open to all users
    folder.chmod(0o755)
    person = write_tree(folder) / "002"
    anger, fear = (person / name / "take000" for name in ("anger", "fear"))
    anger.chmod(0)
    (fear / "img_0003.jpg").chmod(0)
    os.seteuid(65534)
    try:
        skipped = [str(skip) for skip in survey(folder).skipped]
    finally:
        os.seteuid(0)
    assert skipped[0] == f"{anger} cannot be read: Permission denied"
    assert "Permission denied" in skipped[1]
    assert str(fear / "img_0003.jpg") in skipped[1]
    shutil.rmtree(folder)


def test_takes_that_change_after_the_survey_are_not_written(tree: Path, tmp_path: Path) -> None:
    mug, listed = survey(tree), list[Failure]()
    prepare(mug, tmp_path / "good", shard_sources=4)
    image = tree / "subjects3" / "002" / "anger" / "take000" / "img_0002.jpg"
    data = image.read_bytes()
    for change in (image.unlink, lambda: image.write_bytes(data + b"\0")):
        change()
        with pytest.raises(ValueError, match="anger/take000 has changed since the takes were read"):
            prepare(mug, tmp_path / "none", shard_sources=4)
    prepare(mug, tmp_path / "out", shard_sources=4, workers=2, max_failures=1, failed=listed.append)
    assert [failure.source for failure in listed] == ["002/anger/take000"]
    image.write_bytes(data)
    prepare(survey(tree), tmp_path / "out", shard_sources=4, retry=listed)
    assert digests(tmp_path / "out") == digests(tmp_path / "good")


def test_two_people_with_the_same_pictures_are_in_one_split(tree: Path) -> None:
    splits = survey(tree).splits
    other = next(person for person in splits if splits[person] != splits["001"])
    take = tree / "subjects3" / other / "anger" / "take001"
    take.symlink_to(tree / "subjects3" / "001" / "anger" / "take000")
    with pytest.raises(ValueError, match=r"anger/take00. and .*anger/take00. hold the same pictures"):
        survey(tree)


def test_a_split_without_takes_is_an_error(tree: Path) -> None:
    with pytest.raises(ValueError, match=r"no take of the split train is left: .* has 5 pictures, fewer than 99"):
        survey(tree, TakeReader("centre", min_frames=99))


def test_a_turned_picture_is_upright(tree: Path) -> None:
    folder = tree / "subjects3" / "002" / "anger" / "take000"
    for path in folder.iterdir():
        image, exif = Image.open(path), Image.Exif()
        exif[0x0112] = 6
        image.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=98, subsampling=0)
    assert read_image(folder / "img_0000.jpg").shape == (24, 32, 3)
    assert survey(tree).skipped == ()


def test_without_a_face_a_take_is_cut_as_the_others_of_its_person(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of person 002 a face is found in the takes of six and of seven pictures, of all others none."""
    known = {read_image(folder / "img_0000.jpg").tobytes(): box for folder, box in (
        (tree / "subjects3" / "002" / "disgust" / "take000", Box(0, 0, 8)),
        (tree / "subjects3" / "002" / "fear" / "take000", Box(4, 8, 12)),
    )}  # fmt: skip
    monkeypatch.setattr(mug_takes, "find_face", lambda pictures: known.get(pictures[0].tobytes()))
    mug, centred = survey(tree, TakeReader("cascade", min_frames=5)), survey(tree)
    assert mug.left_out["no_face_found"] == len(mug.faceless) == 22

    def frames(data: Mug, source: str) -> NDArray[np.uint8]:
        return next(data.records(source, np.random.default_rng())).frames

    picture = read_image(tree / "subjects3" / "002" / "happiness" / "take000" / "img_0000.jpg")
    usual = Box(2, 4, 10).scaled(MARGIN)
    np.testing.assert_array_equal(frames(mug, "002/happiness/take000")[0], fit(usual.cut(picture), 16, grey=False))
    np.testing.assert_array_equal(frames(mug, "001/fear/take000"), frames(centred, "001/fear/take000"))
    assert mug.parameters["pictures_sha256"] != centred.parameters["pictures_sha256"]
    with pytest.raises(ValueError, match=r"001/anger/take000 has no face that is found; 21 more takes have a fault"):
        survey(tree, TakeReader("cascade", min_frames=5), strict=True)
