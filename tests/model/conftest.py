"""Fixtures of the evaluation's tests."""

from pathlib import Path

import pytest
from moving_squares import MovingSquares

from seqviews.pipeline.prepare.write import prepare


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set of moving squares."""
    out = tmp_path_factory.mktemp("squares") / "squares"
    prepare(MovingSquares(), out, shard_sources=64)
    return out
