"""The motion of bouncing digits: whole pixels at a constant velocity, and a new one at a wall."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Integers: TypeAlias = NDArray[np.int64]


def bounce(rng: np.random.Generator, frames: int, limit: int, speed: int) -> Integers:
    """A random path `[frames, 2]` in the square from 0 to `limit`; a wall gives a new velocity, at most `speed`.

    >>> bounce(np.random.default_rng(1), frames=6, limit=6, speed=2).tolist()
    [[3, 3], [4, 5], [5, 6], [6, 5], [5, 5], [4, 5]]
    """

    def draw(low: int, high: int) -> Integers:
        return rng.integers(low, high, 2, endpoint=True)

    start, velocity = draw(0, limit), draw(-speed, speed)
    return _walk(start, velocity, frames, limit, lambda t: (draw(1, speed), draw(-speed, speed)))


def bounce_many(words: NDArray[np.uint64], frames: int, limit: int, speed: int) -> Integers:
    """Random paths int64 `[..., frames, 2]` like those of `bounce`, each a function of its own words.

    Args:
        words: Uniform random `[..., path_words(frames)]`.
        frames: Number of frames.
        limit: The largest position.
        speed: The largest velocity in x and in y.
    """
    pairs = words.reshape(*words.shape[:-1], 2 + 2 * frames, 2)
    start, velocity = below(pairs[..., 0, :], limit + 1), below(pairs[..., 1, :], 2 * speed + 1) - speed
    away = below(pairs[..., 2::2, :], speed) + 1
    along = below(pairs[..., 3::2, :], 2 * speed + 1) - speed
    path = _walk(start, velocity, frames, limit, lambda t: (away[..., t, :], along[..., t, :]))
    return np.moveaxis(path, 0, -2)


def path_words(frames: int) -> int:
    """The number of words that a path of `bounce_many` takes."""
    return 4 + 4 * frames


def below(words: NDArray[np.uint64], bound: int) -> Integers:
    """Integers from 0 to `bound` - 1, at most 2^32, from uniform random words.

    >>> below(np.array([0, 1 << 63, (1 << 64) - 1], np.uint64), 6).tolist()
    [0, 3, 5]
    """
    return ((words >> np.uint64(32)) * np.uint64(bound) >> np.uint64(32)).astype(np.int64)


def _walk(
    position: Integers, velocity: Integers, frames: int, limit: int, turn: Callable[[int], tuple[Integers, Integers]]
) -> Integers:
    """Paths `[frames, ..., 2]` from positions and velocities `[..., 2]`.

    `turn` is called where a step of frame t hits a wall; it returns the speed away from a wall that was hit, and the
    velocity along it.
    """
    path = np.empty((frames, *position.shape), np.int64)
    for t in range(frames):
        path[t] = position
        moved = position + velocity
        position = moved.clip(0, limit)
        hit = moved != position
        if hit.any():
            away, along = turn(t)
            turned = np.where(hit, np.sign(position - moved) * away, along)
            velocity = np.where(hit.any(axis=-1, keepdims=True), turned, velocity)
    return path
