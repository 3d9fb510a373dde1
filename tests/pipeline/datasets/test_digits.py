import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from seqviews.pipeline.datasets.digits import idx_digits, sklearn_digits


def idx(array: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


IMAGES = np.random.default_rng(1).integers(0, 256, (6, 12, 12), dtype=np.uint8)
LABELS = np.array([3, 1, 4, 1, 5, 9], np.uint8)


NAMES = [("images-idx3-ubyte", "labels-idx1-ubyte"), ("train-images.idx3-ubyte", "train-labels.idx1-ubyte.gz")]
NAMES += [("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")]


@pytest.mark.parametrize(("images", "labels"), NAMES)
def test_idx_files_are_read_as_written(tmp_path: Path, images: str, labels: str) -> None:
    for name, array in ((images, IMAGES), (labels, LABELS)):
        (tmp_path / name).write_bytes(gzip.compress(idx(array)) if name.endswith(".gz") else idx(array))
    digits = idx_digits(tmp_path)
    np.testing.assert_array_equal(digits.images, IMAGES)
    np.testing.assert_array_equal(digits.labels, LABELS)


def test_all_pairs_of_a_folder_are_read_once(tmp_path: Path) -> None:
    for prefix, part in (("train-", slice(0, 4)), ("t10k-", slice(4, 6))):
        (tmp_path / f"{prefix}images-idx3-ubyte").write_bytes(idx(IMAGES[part]))
        (tmp_path / f"{prefix}labels-idx1-ubyte").write_bytes(idx(LABELS[part]))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES[:4])))
    digits = idx_digits(tmp_path)
    assert digits.labels.tolist() == [5, 9, 3, 1, 4, 1]
    np.testing.assert_array_equal(digits.images, IMAGES[[4, 5, 0, 1, 2, 3]])


BAD_IDX = {
    "no IDX files": (None, idx(LABELS)),
    "no labels-idx1-ubyte": (idx(IMAGES), None),
    "starts with 00000801, not 00000803": (idx(LABELS), idx(LABELS)),
    "starts with 00000d03": (b"\0\0\x0d\3" + idx(IMAGES)[4:], idx(LABELS)),
    "starts with ,": (b"", idx(LABELS)),
    "fewer than the 864 values": (idx(IMAGES)[:-1], idx(LABELS)),
    "more than the 6 values": (idx(IMAGES), idx(LABELS) + b"\0"),
    "6 images, but labels-idx1-ubyte has 5 labels": (idx(IMAGES), idx(LABELS[:5])),
    "12 x 11, not squares": (idx(IMAGES[:, :, :11]), idx(LABELS)),
    "the label 10": (idx(IMAGES), idx(LABELS + np.uint8(1))),
    "not 1 byte to 256 MiB": (b"\0\0\x08\3" + b"\xff" * 12, idx(LABELS)),
    "states [0] values": (idx(IMAGES), idx(LABELS[:0])),
}


@pytest.mark.parametrize("message", BAD_IDX)
def test_invalid_idx_files(tmp_path: Path, message: str) -> None:
    for name, data in zip(("images-idx3-ubyte", "labels-idx1-ubyte"), BAD_IDX[message], strict=True):
        if data is not None:
            (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is checked as plain text)
        idx_digits(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(("position", "new"), [(slice(-20, None), b""), (slice(-5, -4), b"\0"), (slice(2), b"xx")])
def test_a_damaged_gzip_file(tmp_path: Path, position: slice, new: bytes) -> None:
    """Truncated, with a wrong check sum, or not gzip."""
    data = bytearray(gzip.compress(idx(IMAGES)))
    before = bytes(data)
    data[position] = new
    assert data != before
    (tmp_path / "images-idx3-ubyte.gz").write_bytes(data)
    (tmp_path / "labels-idx1-ubyte").write_bytes(idx(LABELS))
    with pytest.raises(ValueError, match=r"images-idx3-ubyte.gz is truncated or damaged: .+"):
        idx_digits(tmp_path)


@pytest.mark.data
def test_real_mnist(shared_data: Path) -> None:
    folder = shared_data / "mnist-8k"
    digits = idx_digits(folder)
    assert digits.images.shape == (8000, 28, 28)
    assert digits.images.tobytes() == gzip.decompress((folder / "images-idx3-ubyte.gz").read_bytes())[16:]
    assert digits.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]  # as the t10k set starts


def test_sklearn_digits_keep_their_order_of_grey() -> None:
    digits = sklearn_digits()
    assert (digits.images.shape, digits.images.min(), digits.images.max()) == ((1797, 8, 8), 0, 255)
    assert np.bincount(digits.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
