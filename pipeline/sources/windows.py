"""Windows: how sequences of frames are cut from a longer one."""

from collections import deque
from collections.abc import Iterable, Iterator
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

    def count(self, length: int) -> int:
        """The number of sequences in `length` frames."""
        return max(0, 1 + (length - self.frames) // self.stride)

    def left_out(self, length: int) -> int:
        """How many of `length` frames are in no sequence."""
        count = self.count(length)
        return length - (self.frames + (count - 1) * min(self.stride, self.frames) if count else 0)

    def cut(self, frames: Iterable[Frame]) -> Iterator[list[Frame]]:
        """The sequences, each as soon as it is complete."""
        held: deque[Frame] = deque(maxlen=self.frames)
        for number, frame in enumerate(frames, 1 - self.frames):
            held.append(frame)
            if number >= 0 and number % self.stride == 0:
                yield list(held)
