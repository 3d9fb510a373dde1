"""Prepared data sets whose factors are known."""

from __future__ import annotations

from pathlib import Path

import pytest
from moving_squares import MovingSquares
from toy_speech import ToySpeech

from seqviews.pipeline.prepare.write import prepare


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Moving squares."""
    out = tmp_path_factory.mktemp("squares") / "squares"
    prepare(MovingSquares(), out, shard_sources=64)
    return out


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toy speech, a shard for each two utterances."""
    out = tmp_path_factory.mktemp("speech") / "speech"
    prepare(ToySpeech(), out, shard_sources=2)
    return out
