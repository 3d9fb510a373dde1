"""The eight orientations as Pillow turns them, and Exif that is damaged."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from seqviews.pipeline.sources.exif import orientation, upright
from seqviews.pipeline.sources.video import read_image

PIXELS = np.kron(np.random.default_rng(0).integers(0, 256, (3, 4, 3)), np.ones((16, 16, 1))).astype(np.uint8)


def turned(stated: int, endian: str = "<") -> bytes:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif.endian = endian
    exif[0x010F], exif[0x0112], exif[0x0131] = "maker", stated, "software"
    Image.fromarray(PIXELS).save(buffer, "jpeg", exif=exif, quality=98, subsampling=0)
    return buffer.getvalue()


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("stated", range(1, 9))
def test_pictures_are_turned_as_pillow_does(tmp_path: Path, stated: int, endian: str) -> None:
    (tmp_path / "x.jpg").write_bytes(turned(stated, endian))
    expected = ImageOps.exif_transpose(Image.open(tmp_path / "x.jpg"))
    assert expected is not None
    np.testing.assert_array_equal(read_image(tmp_path / "x.jpg"), np.asarray(expected))


def test_damaged_exif_is_upright_or_what_it_states() -> None:
    data, rng = turned(6), np.random.default_rng(0)
    assert orientation(data) == 6
    assert orientation(turned(9)) == 1
    end = data.index(b"software")
    for _ in range(500):
        damaged = bytearray(data)
        damaged[int(rng.integers(2, end))] = int(rng.integers(256))
        assert 1 <= orientation(bytes(damaged)) <= 8
        assert 1 <= orientation(data[: int(rng.integers(len(data)))]) <= 8
    assert upright(PIXELS, 1).shape == PIXELS.shape
