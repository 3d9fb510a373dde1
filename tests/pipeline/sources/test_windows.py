from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqviews.pipeline.sources.windows import Window


@given(length=st.integers(0, 40), frames=st.integers(1, 12), stride=st.integers(1, 12))
def test_a_window_cuts_the_slices_of_a_list(length: int, frames: int, stride: int) -> None:
    window = Window(frames, stride)
    everything = list(range(length))
    expected = [everything[start : start + frames] for start in range(0, length, stride) if start + frames <= length]
    assert list(window.cut(iter(everything))) == expected
    assert window.count(length) == len(expected)
    used = Counter(frame for sequence in expected for frame in sequence)
    assert window.left_out(length) == length - len(used)


def test_a_window_has_frames() -> None:
    with pytest.raises(ValueError, match="0 frames"):
        Window(0, 1)
