"""Features: the shape and type of the records of a data set, and how they are stored."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

Codec: TypeAlias = Literal["webp", "png", "npy", "jpeg"]
MAX_IMAGE_ROWS = {"webp": 16_383, "jpeg": 65_500, "png": 1_000_000}
PAGE_FRAMES = 8
JPEG_QUALITY = 95
OPTIONAL = ("min_frames", "quality", "page_frames")  # of schema version 2


@dataclass(frozen=True, slots=True)
class MelParameters:
    """How log-mel frames are computed: lengths in samples, frequencies in hertz, the floor a power."""

    sample_rate: int = 16_000
    n_fft: int = 512
    win_length: int = 400
    hop_length: int = 160
    n_mels: int = 80
    f_min: float = 0.0
    f_max: float = 8000.0
    norm: Literal["slaney"] = "slaney"
    floor: float = 1e-10


@dataclass(frozen=True, slots=True)
class MelFeatures:
    """What the segments of a data set have in common besides their shape.

    Attributes:
        mean, std: Mean and standard deviation of each log-mel over the training split; 0 for a constant mel.
        voices: K, the number of other voices that each segment is stored in.
        parameters: How the frames were computed.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    voices: int = 0
    parameters: MelParameters = MelParameters()


@dataclass(frozen=True, slots=True)
class Features:
    """The shape and type of every record's sequence; `for_segments` fills in what all segments share.

    Attributes:
        shape: `[T, H, W, C]` of a clip, `[T, n_mels]` of a segment; T is the greatest if records differ in length.
        dtype, codec: Type of the values, and how they are stored.
        rate: Frames per second.
        mel: More about segments; None if the records are clips.
        min_frames: The least number of frames, below T; None if all records have T frames.
        quality: Of a lossy codec, 1 to 100: of jpeg always, of webp unless it is lossless.
        page_frames: The frames of a clip are stored in pages of so many, each a member of its own; None for one member.

    Raises:
        ValueError: If the attributes contradict each other.
    """

    shape: tuple[int, ...]
    dtype: Literal["uint8", "float32"] = "uint8"
    rate: float | None = None
    codec: Codec = "webp"
    mel: MelFeatures | None = None
    min_frames: int | None = None
    quality: int | None = None
    page_frames: int | None = None

    def __post_init__(self) -> None:
        if self.min_frames is not None and not 1 <= self.min_frames < self.shape[0]:
            found = f"records of {self.min_frames} to {self.shape[0]} frames"
            raise ValueError(f"{found}: the least number must be at least 1 and below the greatest")
        if self.mel is None:
            self._check_clips()
            return
        n_mels = self.mel.parameters.n_mels
        if len(self.shape) != 2 or self.shape[1] != n_mels or self.dtype != "float32" or self.codec != "npy":
            found = f"{self.dtype} {list(self.shape)} as {self.codec}"
            raise ValueError(f"features of segments are {found}, not float32 [T, {n_mels}] as npy")
        if self.quality is not None or self.page_frames is not None:
            raise ValueError("segments are stored without loss and in one member: quality and page_frames are of clips")
        if not len(self.mel.mean) == len(self.mel.std) == n_mels or self.mel.voices < 0:
            raise ValueError(f"features of segments need mean and std of {n_mels} mels, and 0 or more voices")
        if not all(map(math.isfinite, self.mel.mean + self.mel.std)) or min(self.mel.std) < 0:
            raise ValueError("features of segments need a finite mean and std of each mel")

    def _check_clips(self) -> None:
        if len(self.shape) != 4 or self.dtype != "uint8":
            raise ValueError(f"features of clips are {self.dtype} {list(self.shape)}, not uint8 [T, H, W, C]")
        if self.quality is None and self.codec == "jpeg":
            raise ValueError(f"jpeg is lossy: give it a quality from 1 to 100, for example {JPEG_QUALITY}")
        if self.quality is not None and (self.codec not in ("jpeg", "webp") or not 1 <= self.quality <= 100):
            raise ValueError(f"{self.codec} of quality {self.quality}: only jpeg and webp have one, from 1 to 100")
        if self.page_frames is not None and self.page_frames < 1:
            raise ValueError(f"pages of {self.page_frames} frames: they must have at least 1")

    @property
    def frames(self) -> tuple[int, int]:
        """The least and the greatest number of frames of a record."""
        return self.shape[0] if self.min_frames is None else self.min_frames, self.shape[0]

    @property
    def converted_shape(self) -> tuple[int, ...] | None:
        """`[K, T, n_mels]`, the float16 shape of a segment in other voices; None if there are none."""
        return None if self.mel is None or not self.mel.voices else (self.mel.voices, *self.shape)

    @property
    def record_bytes(self) -> int:
        """Size of the longest record, decoded, in bytes."""
        return math.prod(self.shape) * (1 if self.mel is None else 4 + 2 * self.mel.voices)

    def stored(
        self, codec: Codec | None = None, quality: int | None = None, page_frames: int | None = None
    ) -> Features:
        """Return these features with clips stored in another way; what is None stays as it is, as do segments.

        Clips that differ in length, or that are too long for one image, are stored in pages, of 8 frames by default.
        The default quality of jpeg is 95.

        >>> Features((160, 64, 64, 3), min_frames=50).stored("jpeg").page_frames
        8
        """
        if self.mel is not None:
            return self
        codec = codec or self.codec
        page_frames = page_frames or self.page_frames
        if page_frames is None and codec != "npy":
            rows = self.shape[0] * self.shape[1]
            page_frames = PAGE_FRAMES if self.min_frames is not None or rows > MAX_IMAGE_ROWS[codec] else None
        quality = quality or self.quality or (JPEG_QUALITY if codec == "jpeg" else None)
        return replace(self, codec=codec, quality=quality, page_frames=page_frames)

    def as_json(self) -> dict[str, Any]:
        """The attributes; those that schema version 1 has not are left out unless they are set."""
        return {name: value for name, value in asdict(self).items() if name not in OPTIONAL or value is not None}

    @classmethod
    def for_segments(cls, frames: int, mel: MelFeatures, min_frames: int | None = None) -> Features:
        """Return the features of segments of `frames` frames, or of `min_frames` to `frames`.

        >>> Features.for_segments(20, MelFeatures(mean=(0.0,) * 80, std=(1.0,) * 80, voices=4)).converted_shape
        (4, 20, 80)
        """
        rate = mel.parameters.sample_rate / mel.parameters.hop_length
        return cls((frames, mel.parameters.n_mels), "float32", rate, "npy", mel, min_frames)
