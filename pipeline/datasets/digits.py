"""Images of handwritten digits: MNIST's IDX files, or the digits included in scikit-learn."""

import gzip
import hashlib
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CLASSES = 10
MAX_IDX_BYTES = 256 << 20
MAX_SIDE = 256
IDX_NAME = re.compile(r"(.*)images([-.])idx3-ubyte(\.gz)?")


@dataclass(frozen=True, eq=False)
class Digits:
    """Images of handwritten digits and their labels.

    Attributes:
        name: Short name of the origin; record sources start with it.
        images, labels: uint8 `[N, side, side]`, the background is 0; uint8 `[N]`, 0 to 9.
        licence, attribution: The licence of the images, and the people to credit.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    licence: str
    attribution: str

    @property
    def sha256(self) -> str:
        """A digest of the images and the labels."""
        return hashlib.sha256(self.images.tobytes() + self.labels.tobytes()).hexdigest()


def read_digits(source: str) -> Digits:
    """`sklearn_digits` if `source` is `sklearn`, else the `idx_digits` of a folder."""
    return sklearn_digits() if source == "sklearn" else idx_digits(Path(source))


def sklearn_digits() -> Digits:
    """The 1,797 digits of 8 x 8 pixels in scikit-learn. Raises `ValueError` if scikit-learn is not installed."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ValueError("the digits 'sklearn' need scikit-learn: pip install 'seqviews[train]'") from None
    bunch = load_digits()
    return Digits(
        name="sklearn",
        images=np.rint(bunch.images * (255 / 16)).astype(np.uint8),
        labels=bunch.target.astype(np.uint8),
        licence="CC-BY-4.0",
        attribution="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning "
        "Repository, 1998; the test set, as scikit-learn carries it",
    )


def idx_digits(folder: Path) -> Digits:
    """MNIST from its IDX files: every `*images-idx3-ubyte[.gz]` in a folder, sorted by name, with its labels.

    Raises:
        ValueError: If there are none, or a file is damaged or does not match the others.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: give one with MNIST's IDX files, or sklearn")
    found = {path.name.removesuffix(".gz"): path for path in sorted(folder.iterdir()) if IDX_NAME.fullmatch(path.name)}
    if not found:
        raise ValueError(f"{folder} has no IDX files: images-idx3-ubyte[.gz] and labels-idx1-ubyte[.gz] are required")
    pairs = [_read_pair(path) for _, path in sorted(found.items())]
    if len({images.shape[1] for images, _ in pairs}) > 1:
        raise ValueError(f"{folder} has IDX files with images of different sizes: keep one set per folder")
    return Digits(
        name="mnist",
        images=np.concatenate([images for images, _ in pairs]),
        labels=np.concatenate([labels for _, labels in pairs]),
        licence="CC-BY-SA-3.0",
        attribution="MNIST: Yann LeCun, Corinna Cortes and Christopher J. C. Burges",
    )


def _read_pair(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The images in an IDX file and their labels in the matching file, compressed or not."""
    plain = IDX_NAME.sub(r"\1labels\2idx1-ubyte", path.name)
    found = [p for p in (path.with_name(plain), path.with_name(plain + ".gz")) if p.is_file()]
    if not found:
        raise ValueError(f"{path} has no {plain}[.gz] in the same folder")
    images, labels = _read_idx(path, 3), _read_idx(found[0], 1)
    if len(images) != len(labels):
        raise ValueError(f"{path} has {len(images)} images, but {found[0].name} has {len(labels)} labels")
    if images.shape[1] != images.shape[2] or not 4 <= images.shape[1] <= MAX_SIDE:
        raise ValueError(f"{path} has images of {images.shape[1]} x {images.shape[2]}, not squares of 4 to 256 pixels")
    if labels.max() >= CLASSES:
        raise ValueError(f"{found[0]} has the label {labels.max()}: labels must be 0 to 9")
    return images, labels


def _read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """An IDX file of unsigned bytes: magic number, sizes as big-endian int32, values."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            magic = file.read(4)
            if magic != bytes([0, 0, 8, dimensions]):
                raise ValueError(f"{path} starts with {magic.hex()}, not 000008{dimensions:02x}: not such an IDX file")
            shape = [int.from_bytes(file.read(4), "big") for _ in range(dimensions)]
            size = int(np.prod(shape, dtype=object))
            if not 0 < size <= MAX_IDX_BYTES:
                raise ValueError(f"{path} states {shape} values: not 1 byte to {MAX_IDX_BYTES >> 20} MiB")
            data = file.read(size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is truncated or damaged: {error}") from None
    if len(data) != size:
        found = "fewer" if len(data) < size else "more"
        raise ValueError(f"{path} has {found} than the {size} values it states: damaged")
    return np.frombuffer(data, np.uint8).reshape(shape)
