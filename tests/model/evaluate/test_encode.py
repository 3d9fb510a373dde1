from __future__ import annotations

from pathlib import Path

import numpy as np
from moving_squares import LENGTH
from square_models import PerfectModel

from seqviews.model.evaluate.encode import encode_split
from seqviews.pipeline.stream.stream import SequenceStream


def test_rows_are_in_the_order_of_the_split_and_belong_together(squares: Path) -> None:
    factors = ("shade", "path")
    latents = encode_split(PerfectModel(), SequenceStream(squares / "val", 23, seed=5, factors=factors))
    assert set(latents) == {"static", "dynamic", "keys", "split", "factor_shade", "factor_path"}
    assert latents["static"].dtype == latents["dynamic"].dtype == np.float32
    assert latents["dynamic"].shape == (64, LENGTH, 16 * 16)
    assert latents["factor_shade"].dtype == np.int64
    assert latents["split"].tolist() == ["val"] * 64
    for batch in SequenceStream(squares / "val", 16, factors=factors):
        rows = batch.indices.numpy()
        assert latents["keys"][rows].tolist() == batch.keys
        assert np.array_equal(latents["factor_shade"][rows], batch.factors["shade"])
        assert np.array_equal(latents["factor_path"][rows], batch.factors["path"])
        assert np.array_equal(latents["static"][rows, 0], batch.x.amax(dim=(1, 2, 3, 4)) / 255)
        assert np.array_equal(latents["dynamic"][rows] > 0, batch.x.flatten(2) > 0)


def test_progress_ends_at_the_whole_split(squares: Path) -> None:
    told: list[tuple[str, int, int]] = []
    encode_split(PerfectModel(), SequenceStream(squares / "test", 5), progress=lambda *now: told.append(now))
    assert told == [("test", 50, 64), ("test", 64, 64)]
