"""Attempts: what failed is tried again, with growing pauses, until a deadline."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from seqviews.pipeline.storage import StorageError, TransientError

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
T = TypeVar("T")


def persist(
    action: Callable[[], T], what: str, deadline: Callable[[], float], stop: threading.Event | None = None
) -> T:
    """Call `action` until it does not raise `TransientError`.

    The pauses double, and each is cut by a random factor, so that machines that failed together do not return together.

    Args:
        action: Is given no further attempt once the deadline is over.
        what: Told in front of the cause.
        deadline: In seconds, asked after every failure: it may grow while something arrives.
        stop: Ends the pauses when it is set.

    Raises:
        StorageError: With the cause, and after several attempts how many there were.
    """
    begun, attempts, pause = time.monotonic(), 0, FIRST_PAUSE
    while True:
        attempts += 1
        try:
            return action()
        except TransientError as error:
            cause = str(error)
        except StorageError as error:
            raise StorageError(f"{what}: {error}") from None
        wait = pause * random.uniform(0.5, 1)
        passed = time.monotonic() - begun
        if passed + wait > deadline():
            told = f"{attempts} attempt{'s' * (attempts > 1)} in {passed:.0f} s"
            raise StorageError(f"{what}: {cause}; given up after {told}") from None
        if _ends_during(wait, stop):
            raise StorageError(f"{what}: stopped") from None
        pause = min(2 * pause, LONGEST_PAUSE)


def ending(stop: threading.Event | None) -> bool:
    """Whether the caller, or the whole program, is about to end."""
    return (stop is not None and stop.is_set()) or not threading.main_thread().is_alive()


def _ends_during(wait: float, stop: threading.Event | None) -> bool:
    """Sleep, in steps, because the end of the main thread sets no event."""
    end = time.monotonic() + wait
    while not ending(stop):
        left = end - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(left, 0.1))
    return True
