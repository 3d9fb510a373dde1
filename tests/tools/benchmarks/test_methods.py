"""A step of every method, timed; all of its players step."""

import pytest

from seqviews.tools.benchmarks import methods as bench_methods


def test_every_method_has_a_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = bench_methods.method_steps(clips=2)
    assert list(steps) == ["cdsvae", "dsvae", "s3vae", "rwae", "mocogan"]
    assert all(step() > 0 for step in steps.values())
