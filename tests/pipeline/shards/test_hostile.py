"""Untrusted data: `ShardError`, or exactly what other readers find. The attacks are in hostile_*.py."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import hostile_pages
import hostile_reading
import pytest
from hostile_reading import Report

CODECS = ["webp", "png", "npy"]
MAX_SECONDS = 5.0
MAX_GROWTH = 300  # MiB


def in_new_process(attack: Callable[..., Report], *arguments: Any) -> Report:
    """Run in a new process, which has used no memory yet, and check what no attack may do."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        report = pool.submit(attack, *arguments).result()
    assert report.faults == []
    assert report.slowest[0] < MAX_SECONDS, report.slowest
    assert report.grown < MAX_GROWTH
    return report


MUTATED = [("webp", range(1000)), ("png", range(1000, 2000)), ("npy", range(2000, 3000))]
MANY = [(hostile_reading.payloads, codec, range(0), 50, 5, 0) for codec in CODECS]
MANY += [(hostile_reading.shards, codec, seeds, 500, 50, 20) for codec, seeds in MUTATED]
MANY += [(hostile_reading.manifests, "webp", range(1000), 500, 20, 20)]
MANY += [(hostile_reading.flips, codec, range(1000), 999, -1, 0) for codec in CODECS]
MANY += [(hostile_reading.sizes, "npy", range(0), 3, 0, 0)]
SAMPLE = [(hostile_reading.shards, codec, range(20 * i, 20 * i + 20), 9, 0, 0) for i, codec in enumerate(CODECS)]
SAMPLE += [
    (hostile_reading.manifests, "webp", range(60, 80), 9, 0, 0),
    (hostile_reading.flips, "npy", range(20), 19, -1, 0),
]


@pytest.mark.parametrize(
    ("attacks", "codec", "seeds", "rejected", "read", "reasons"),
    [*SAMPLE, *(pytest.param(*case, marks=pytest.mark.slow) for case in MANY)],
)
def test_attacks(
    tmp_path: Path, attacks: Callable[..., Any], codec: str, seeds: range, rejected: int, read: int, reasons: int
) -> None:
    """More than so many are rejected, for so many reasons, and more than so many are read."""
    report = in_new_process(hostile_reading.attack, tmp_path, attacks, codec, seeds)
    assert report.rejected > rejected
    assert report.read > read
    assert len(report.reasons) > reasons - 1
    if attacks is hostile_reading.flips:
        assert report.rejected == len(seeds)
    if attacks is hostile_reading.sizes:
        assert (report.rejected, report.read) == (4, 1)


MANY_PAGES = [(codec, range(i * 500, i * 500 + 500), 900, 400) for i, codec in enumerate(hostile_pages.STORED)]
SOME_PAGES = [(codec, range(i * 20, i * 20 + 20), 30, 10) for i, codec in enumerate(hostile_pages.STORED)]


@pytest.mark.parametrize(
    ("codec", "seeds", "rejected", "read"),
    [*SOME_PAGES[::3], *(pytest.param(*case, marks=pytest.mark.slow) for case in MANY_PAGES)],
)
def test_attacks_on_pages_and_lengths(tmp_path: Path, codec: str, seeds: range, rejected: int, read: int) -> None:
    report = in_new_process(hostile_pages.attack, tmp_path, codec, seeds)
    assert report.rejected > rejected
    assert report.read > read
