"""Parts: how several processes that know nothing of each other share the shards of a preparation."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from seqviews.pipeline.shards.strict_json import integer


@dataclass(frozen=True, slots=True)
class Part:
    """Every `count`-th shard, from the `number`-th on; parts are numbered from 1.

    Raises:
        ValueError: If there is no such part.

    Example:
        >>> part = Part.parse("2/3")
        >>> [shard for shard in range(8) if part.has(shard)], str(part)
        ([1, 4, 7], '2/3')
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= integer("number", self.number) <= integer("count", self.count):
            raise ValueError(f"there is no part {self}: the parts are 1/{self.count} to {self.count}/{self.count}")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def has(self, shard: int) -> bool:
        """Whether a shard, counted from 0 over all splits, is in this part."""
        return shard % self.count == self.number - 1

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] = os.environ) -> Part:
        """Return the part that a text names: `2/5`, or `slurm` or `rank`, which read it from the environment.

        `slurm` is the task of a Slurm array, whose numbers have a step of 1; `rank` is the process of a torchrun or
        MPI launcher, by `RANK` and `WORLD_SIZE`.

        Raises:
            ValueError: If the text or the environment names no part.
        """
        if found := re.fullmatch(r"(\d{1,9})/(\d{1,9})", text):
            return cls(int(found[1]), int(found[2]))
        names = {"slurm": ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"), "rank": ("RANK", "WORLD_SIZE")}
        if text not in names:
            raise ValueError(f"a part is written 2/5, slurm or rank, not {text!r}")
        number, count = (environment.get(name, "") for name in names[text])
        first = environment.get("SLURM_ARRAY_TASK_MIN", "0") if text == "slurm" else "0"
        if not (number.isdecimal() and count.isdecimal() and first.isdecimal()):
            raise ValueError(f"the part {text} needs {' and '.join(names[text])} as numbers in the environment")
        if text == "slurm" and int(environment.get("SLURM_ARRAY_TASK_STEP", "1")) != 1:
            raise ValueError("the part slurm needs an array with a step of 1, as --array=0-9")
        return cls(int(number) - int(first) + 1, int(count))
