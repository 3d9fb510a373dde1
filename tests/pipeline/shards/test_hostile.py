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


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
def test_every_hostile_payload(tmp_path: Path, codec: str) -> None:
    report = in_new_process(hostile_reading.attack_payloads, tmp_path, codec)
    assert report.rejected > 50
    assert report.read > 5


@pytest.mark.slow
@pytest.mark.parametrize(("codec", "first"), [("webp", 0), ("png", 1000), ("npy", 2000)])
def test_mutated_shards(tmp_path: Path, codec: str, first: int) -> None:
    report = in_new_process(hostile_reading.attack_shards, tmp_path, codec, range(first, first + 1000))
    assert report.rejected > 500
    assert report.read > 50
    assert len(report.reasons) > 20


@pytest.mark.slow
def test_mutated_manifests(tmp_path: Path) -> None:
    report = in_new_process(hostile_reading.attack_manifests, tmp_path, "webp", range(1000))
    assert report.rejected > 500
    assert report.read > 20
    assert len(report.reasons) > 20


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
def test_flipped_bits(tmp_path: Path, codec: str) -> None:
    report = in_new_process(hostile_reading.attack_flips, tmp_path, codec, range(1000))
    assert report.rejected == 1000


@pytest.mark.slow
def test_large_shards(tmp_path: Path) -> None:
    report = in_new_process(hostile_reading.attack_sizes, tmp_path)
    assert (report.rejected, report.read) == (4, 1)
