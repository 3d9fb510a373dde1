"""Failures: the sources of a preparation that cannot be read, and how many of them are accepted."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seqviews.pipeline.manifest import SPLITS, Split
from seqviews.pipeline.shards.strict_json import parse_object

FAILURES = "failures.json"
MAX_REASON = 300


@dataclass(frozen=True, slots=True)
class Failure:
    """A source, or a sample of it, that is left out of a shard, and why.

    Attributes:
        split, shard, source: Where it is missing.
        reason: Why, in one line.
        sample: The key of the sample; empty if it is the source.
    """

    split: Split
    shard: str
    source: str
    reason: str
    sample: str = ""

    def __str__(self) -> str:
        """Its name, split and reason."""
        return f"{self.source}{self.sample and '/' + self.sample} of {self.split}: {self.reason}"

    def as_json(self) -> dict[str, Any]:
        """The attributes, without an empty one."""
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def of(cls, split: Split, shard: str, source: str, error: Exception) -> Failure:
        """Return the failure that an exception describes, in one line."""
        reason = " ".join(str(error).split())
        if not reason or not isinstance(error, ValueError | OSError):
            reason = f"{type(error).__name__}: {reason}"
        return cls(split, shard, source, reason[:MAX_REASON])


@dataclass(frozen=True, slots=True)
class BrokenSample:
    """A sample of a source that cannot be read; the source yields it among the records of its other samples.

    Attributes:
        name: The key of the sample; empty if the source cannot be read to its end.
        reason: What is wrong.
    """

    name: str
    reason: str

    def failure(self, split: Split, shard: str, source: str) -> Failure:
        """Return the failure, where the sample is missing."""
        return Failure(split, shard, source, self.reason[:MAX_REASON], self.name)


def failure_limit(text: int | str, sources: int) -> int:
    """Return how many of a number of sources may fail: a number, or a percentage.

    Raises:
        ValueError: If the text is neither.

    Example:
        >>> failure_limit("0.5%", 1000), failure_limit(3, 1000)
        (5, 3)
    """
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)%|(\d{1,12})", str(text))
    if found is None or (found[1] and float(found[1]) > 100):
        raise ValueError(f"max_failures is {text!r}, not a number of sources or a percentage, as 20 or 0.1%")
    return int(found[2]) if found[2] else int(float(found[1]) * sources / 100 + 1e-9)


def check_failures(failures: Sequence[Failure], limit: int) -> None:
    """Raise `ValueError` if there are more failures than accepted."""
    if len(failures) > limit:
        last = failures[-1]
        accepted = f"more than the {limit} that are accepted" if limit else "and none is accepted"
        sources = "source" if len(failures) == 1 else "sources"
        raise ValueError(f"{len(failures)} {sources} cannot be read, {accepted} (--max-failures); the last: {last}")


def failures_to_json(failures: Sequence[Failure]) -> bytes:
    """Return the text of `failures.json`."""
    return (json.dumps({"failures": [failure.as_json() for failure in failures]}, indent=1) + "\n").encode()


def failures_from_json(data: bytes, name: str) -> tuple[Failure, ...]:
    """Parse what `failures_to_json` returns; `name` is for the message. Raises `ValueError` if it is something else."""
    try:
        found = tuple(Failure(**failure) for failure in parse_object(data.decode())["failures"])
        if any(failure.split not in SPLITS for failure in found):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{name} is not a {FAILURES} of a preparation") from None
    return found


def read_failures(path: Path) -> tuple[Failure, ...]:
    """Read the failures that a file lists. Raises `ValueError` if it is another file, `OSError` if it is unreadable."""
    return failures_from_json(path.read_bytes(), str(path))
