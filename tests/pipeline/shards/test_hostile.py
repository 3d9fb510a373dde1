"""Untrusted data: `ShardError`, or exactly what other readers find. The attacks are in hostile_reading.py."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

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


def test_a_sample_of_everything(tmp_path: Path) -> None:
    report = in_new_process(hostile_reading.attack_sample, tmp_path, 20)
    assert report.rejected + report.read == 100
    assert report.rejected > 50
    assert report.read > 5


MUTATED = [("webp", range(1000)), ("png", range(1000, 2000)), ("npy", range(2000, 3000))]
CASES = [(hostile_reading.payloads, codec, range(0), 50, 5, 0) for codec in CODECS]
CASES += [(hostile_reading.shards, codec, seeds, 500, 50, 20) for codec, seeds in MUTATED]
CASES += [(hostile_reading.manifests, "webp", range(1000), 500, 20, 20)]
CASES += [(hostile_reading.flips, codec, range(1000), 999, -1, 0) for codec in CODECS]
CASES += [(hostile_reading.sizes, "npy", range(0), 3, 0, 0)]


@pytest.mark.slow
@pytest.mark.parametrize(("attacks", "codec", "seeds", "rejected", "read", "reasons"), CASES)
def test_many_attacks(
    tmp_path: Path, attacks: Callable[..., Any], codec: str, seeds: range, rejected: int, read: int, reasons: int
) -> None:
    report = in_new_process(hostile_reading.attack, tmp_path, attacks, codec, seeds)
    assert report.rejected > rejected
    assert report.read > read
    assert len(report.reasons) > reasons - 1
    if attacks is hostile_reading.flips:
        assert report.rejected == 1000
    if attacks is hostile_reading.sizes:
        assert (report.rejected, report.read) == (4, 1)
