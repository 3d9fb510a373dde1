"""Windows: how sequences of frames are cut from a longer one."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

Frame = TypeVar("Frame")


@dataclass(frozen=True, slots=True)
class Window:
    """Sequences of `frames` frames, one starting every `stride` frames. Raises `ValueError` if one is below 1.

    Example:
        >>> window = Window(frames=3, stride=2)
        >>> list(window.cut("abcdefgh")), window.count(8), window.left_out(8)
        ([['a', 'b', 'c'], ['c', 'd', 'e'], ['e', 'f', 'g']], 3, 1)
    """

    frames: int
    stride: int

    def __post_init__(self) -> None:
        if self.frames < 1 or self.stride < 1:
            raise ValueError(f"sequences of {self.frames} frames, every {self.stride}: both must be at least 1")

    @property
    def parameters(self) -> dict[str, int]:
        """What decides the sequences besides the shape of the records, for the manifest."""
        return {"stride": self.stride}

    def count(self, length: int) -> int:
        """The number of sequences in `length` frames."""
        return max(0, 1 + (length - self.frames) // self.stride)

    def left_out(self, length: int) -> int:
        """How many of `length` frames are in no sequence."""
        count = self.count(length)
        return length - (self.frames + (count - 1) * min(self.stride, self.frames) if count else 0)

    def frame_counts(self, lengths: Sequence[int]) -> tuple[int, int]:
        """The least and the greatest number of frames of the sequences of several longer ones."""
        return self.frames, self.frames

    def parts(self, length: int) -> list[slice]:
        """Where each of the sequences in `length` frames is."""
        starts = range(0, self.count(length) * self.stride, self.stride)
        return [slice(start, start + self.frames) for start in starts]

    def cut(self, frames: Iterable[Frame]) -> Iterator[list[Frame]]:
        """The sequences, each as soon as it is complete."""
        held: deque[Frame] = deque(maxlen=self.frames)
        for number, frame in enumerate(frames, 1 - self.frames):
            held.append(frame)
            if number >= 0 and number % self.stride == 0:
                yield list(held)


@dataclass(frozen=True, slots=True)
class Whole(Window):
    """All frames as one sequence, if they are at least `frames`.

    Example:
        >>> whole = Whole(frames=3)
        >>> list(whole.cut("abcd")), whole.count(2), whole.frame_counts([2, 4, 9])
        ([['a', 'b', 'c', 'd']], 0, (4, 9))
    """

    stride: int = 1

    @property
    def parameters(self) -> dict[str, int]:
        """The least number of frames of a file that is used."""
        return {"whole_from_frames": self.frames}

    def count(self, length: int) -> int:
        """1, or 0 if there are too few frames."""
        return int(length >= self.frames)

    def left_out(self, length: int) -> int:
        """0, or all frames if they are too few."""
        return 0 if self.count(length) else length

    def frame_counts(self, lengths: Sequence[int]) -> tuple[int, int]:
        """The least and the greatest of the lengths that are long enough."""
        counts = [length for length in lengths if self.count(length)]
        return min(counts, default=self.frames), max(counts, default=self.frames)

    def parts(self, length: int) -> list[slice]:
        """All of it."""
        return [slice(0, length)] * self.count(length)

    def cut(self, frames: Iterable[Frame]) -> Iterator[list[Frame]]:
        """All frames."""
        held = list(frames)
        if self.count(len(held)):
            yield held
