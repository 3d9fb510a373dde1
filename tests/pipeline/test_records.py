"""Segments check their values, and a batch moves as a whole."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seqviews.pipeline.records import Batch, Segment


def array(value: float, shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
    return np.full(shape, value, dtype)


MEL_0, VOICES_0 = array(0, (20, 80)), array(0, (4, 20, 80), np.float16)
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"mel": MEL_0.astype(np.float64)}, r"mel is float64 \[20, 80\], not float32"),
    ({"mel": MEL_0[None]}, r"mel is float32 \[1, 20, 80\]"),
    ({"mel": array(np.nan, (20, 80))}, "not finite"),
    ({"mel": array(-np.inf, (20, 80))}, "not finite"),
    ({"converted": VOICES_0.astype(np.float32)}, "converted is float32"),
    ({"converted": VOICES_0[:, :19]}, r"not float16 \[K, 20, 80\]"),
    ({"converted": VOICES_0[0]}, r"converted is float16 \[20, 80\]"),
    ({"converted": VOICES_0[:0]}, r"converted is float16 \[0, 20, 80\]"),
    ({"converted": array(np.inf, (4, 20, 80), np.float16)}, "not finite"),
    ({"start": -0.1}, "start -0.1 is below 0"),
    ({"rate": float("nan")}, "rate nan"),
    ({"key": "a.b"}, "record key"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_segments_check_their_values(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Segment(**{"key": "a", "mel": MEL_0, **change})


def test_a_batch_moves_with_its_other_voices() -> None:
    x, voices = torch.zeros(2, 20, 80), torch.zeros(2, 4, 20, 80, dtype=torch.float16)
    moved = Batch(x, ["a", "b"], torch.arange(2), 0, {}, voices).to("meta")
    assert moved.converted is not None
    assert (moved.x.device.type, moved.converted.device.type) == ("meta", "meta")
