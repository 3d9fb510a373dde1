"""Clock: where the time of a training's steps goes."""

import time
from collections import defaultdict
from typing import Any

from lightning import Callback

WARM_UP = 3


class Clock(Callback):
    """Seconds of each stage of a training's steps after the warm-up."""

    def __init__(self) -> None:
        self.stages, self.steps, self.last = defaultdict[str, float](float), 0, 0.0

    def summary(self, batch_size: int) -> dict[str, Any]:
        """Clips/s, and the share of each stage in percent.

        Raises:
            ValueError: If no step was measured.
        """
        if self.steps <= WARM_UP:
            raise ValueError(f"the time was over after {self.steps} steps, and the first {WARM_UP} are not measured")
        total = sum(self.stages.values())
        return {
            "clips_per_second": round((self.steps - WARM_UP) * batch_size / total, 1),
            "percent": {stage: round(100 * seconds / total, 2) for stage, seconds in self.stages.items()},
        }

    def _end(self, stage: str) -> None:
        now = time.perf_counter()
        if self.steps >= WARM_UP:
            self.stages[stage] += now - self.last
        self.last = now

    def on_train_batch_start(self, *args: Any) -> None:
        """The batch is there."""
        self._end("waiting for data")

    def on_before_backward(self, *args: Any) -> None:
        """The loss is there."""
        self._end("views, networks, loss")

    def on_after_backward(self, *args: Any) -> None:
        """The gradients are there."""
        self._end("backward")

    def on_train_batch_end(self, *args: Any) -> None:
        """The step is done."""
        self._end("clipping, optimizer, log")
        self.steps += 1
