"""Face boxes on scikit-image's photograph of an astronaut, moved, scaled and mirrored."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from seqviews.pipeline.sources.faces import MARGIN, Box, centre_box, find_face, median_box

FACE = Box(70, 175, 93)  # in the photograph, 512 x 512; the eyes are in rows 100 to 115


def moved(photograph: NDArray[np.uint8], rng: np.random.Generator) -> tuple[NDArray[np.uint8], Box]:
    """The photograph in a picture of 480 x 640, and where its face is there."""
    scale, mirrored = rng.uniform(0.5, 1.5), rng.random() < 0.5
    size = round(512 * scale)
    image = np.asarray(Image.fromarray(photograph).resize((size, size), Image.Resampling.BILINEAR))
    top, left, side = FACE.top * scale, FACE.left * scale, FACE.side * scale
    if mirrored:
        image, left = image[:, ::-1], size - left - side
    down, right = round(rng.uniform(10, 470 - side) - top), round(rng.uniform(10, 630 - side) - left)
    canvas = np.full((480, 640, 3), 90, np.uint8)
    rows, columns = slice(max(0, down), min(480, size + down)), slice(max(0, right), min(640, size + right))
    canvas[rows, columns] = image[rows.start - down : rows.stop - down, columns.start - right : columns.stop - right]
    return canvas, Box(top + down, left + right, side)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    rows = min(a.top + a.side, b.top + b.side) - max(a.top, b.top)
    columns = min(a.left + a.side, b.left + b.side) - max(a.left, b.left)
    common = max(0.0, rows) * max(0.0, columns)
    return common / (a.side**2 + b.side**2 - common)


def test_the_face_of_a_photograph_wherever_it_is() -> None:
    photograph = pytest.importorskip("skimage.data").astronaut()
    rng = np.random.default_rng(0)
    for _ in range(20):
        picture, truth = moved(photograph, rng)
        found = find_face([picture])
        assert found is not None
        assert overlap(found, truth) >= 0.6


def test_the_median_of_several_pictures_and_none() -> None:
    photograph = pytest.importorskip("skimage.data").astronaut()
    noise = np.random.default_rng(0).integers(0, 256, photograph.shape, dtype=np.uint8)
    assert find_face([noise, photograph, noise]) == find_face([photograph])
    assert find_face([noise]) is None
    assert median_box([Box(0, 0, 10), Box(2, 4, 10), Box(50, 50, 90)]) == Box(2, 4, 10)


def test_a_box_is_cut_within_the_picture() -> None:
    picture = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30, 1)
    np.testing.assert_array_equal(Box(2, 3, 4).cut(picture), picture[2:6, 3:7])
    np.testing.assert_array_equal(Box(-3, 27, 8).cut(picture), picture[:8, 22:])
    np.testing.assert_array_equal(centre_box(20, 30, 1).scaled(MARGIN).cut(picture), picture[:, 5:25])
    assert Box(0, 0, 0.2).cut(picture).shape == (1, 1, 1)
