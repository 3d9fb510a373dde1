import math

import numpy as np
import pytest

from seqviews.model.evaluate.speech.intervals import Estimate, speaker_weights, with_intervals


def test_weights_are_products_of_the_times_that_speakers_were_drawn() -> None:
    speakers = np.array([[4, 4], [4, 9], [9, 7], [7, 4], [7, 7]])
    weights = speaker_weights(speakers, 50, seed=3)
    rng, present = np.random.default_rng(3), [4, 7, 9]
    for row, drawn in zip(weights, rng.choice(3, (50, 3)), strict=True):
        times = {speaker: list(drawn).count(i) for i, speaker in enumerate(present)}
        expected = [times[a] if a == b else times[a] * times[b] for a, b in speakers.tolist()]
        assert row.tolist() == expected
    np.testing.assert_array_equal(weights, speaker_weights(speakers, 50, seed=3))


def test_an_interval_of_many_speakers_is_that_of_the_normal_approximation() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(400) < 0.3
    weights = speaker_weights(np.arange(400)[:, None], 2000, seed=0)
    share = Estimate(float(right.mean()), weights @ right / weights.sum(1))
    found = with_intervals({"share": share})
    half = 1.96 * math.sqrt(right.mean() * (1 - right.mean()) / 400)
    assert found["share_low"] == pytest.approx(right.mean() - half, abs=0.01)
    assert found["share_high"] == pytest.approx(right.mean() + half, abs=0.01)


def test_ratios_are_paired_and_nothing_is_divided_by_zero() -> None:
    a, b = Estimate(0.5, np.array([0.4, 0.6, 0.1])), Estimate(1.0, np.array([0.8, 1.2, 0.0]))
    ratio = a / b
    assert ratio.value == 0.5
    np.testing.assert_array_equal(ratio.resampled, [0.5, 0.5, np.nan])
    assert with_intervals({"x": ratio})["x_low"] == 0.5
    nothing = {"zero": a / Estimate(0.0, b.resampled), "never": a / Estimate(1.0, np.zeros(3))}
    assert with_intervals(nothing) == {}, "NaN is not JSON"
