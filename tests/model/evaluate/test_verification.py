"""Error rates against a sweep over every threshold, and of planted and of random latents."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from seqviews.model.evaluate.verification import bootstrap_rates, cosine_scores, equal_error_rate, make_trials


def sweep(scores: NDArray[np.float32], same: NDArray[np.bool_]) -> float:
    """The crossing of the two error rates, by trying every threshold."""
    points = []
    for threshold in [np.inf, *sorted(set(scores.tolist()), reverse=True)]:
        accept = scores >= threshold
        points.append((float(accept[~same].mean()), float((~accept[same]).mean())))
    for (fa, fr), (fa_next, fr_next) in itertools.pairwise(points):
        if fa_next >= fr_next:
            share = (fr - fa) / ((fr - fa) - (fr_next - fa_next))
            return fa + share * (fa_next - fa)
    raise AssertionError


@pytest.mark.parametrize("seed", range(20))
def test_the_rate_is_that_of_a_sweep_and_weights_repeat_trials(seed: int) -> None:
    rng = np.random.default_rng(seed)
    same = rng.random(60) < 0.3
    same[:2] = True, False
    scores = (rng.normal(size=60) + same * rng.random() * 3).round(1).astype(np.float32)  # rounded: ties
    assert equal_error_rate(scores, same) == pytest.approx(sweep(scores, same), abs=1e-9)
    times = rng.integers(1, 4, 60)
    repeated = equal_error_rate(scores.repeat(times), same.repeat(times))
    assert equal_error_rate(scores, same, times.astype(np.float64)) == pytest.approx(repeated, abs=1e-9)


def recordings(speakers: int, each: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two segments of each of so many utterances of so many speakers."""
    return np.arange(speakers).repeat(2 * each), np.arange(speakers * each).repeat(2)


def test_trials_are_all_pairs_of_different_utterances() -> None:
    speakers, utterances = recordings(4, 3)
    trials = make_trials(speakers, utterances, np.random.default_rng(0))
    pairs = set(zip(trials.first.tolist(), trials.second.tolist(), strict=True))
    expected = {(a, b) for a, b in itertools.combinations(range(24), 2) if utterances[a] != utterances[b]}
    assert pairs == expected
    assert trials.same.sum() == 4 * 3 * 4  # three pairs of utterances per speaker, each with four of segments
    with pytest.raises(ValueError, match="requires two speakers"):
        make_trials(np.zeros(4, np.int64), np.arange(4), np.random.default_rng(0))


@pytest.mark.parametrize("maximum", [5, 40])
def test_a_sample_holds_no_pair_twice_and_the_same_for_a_seed(maximum: int) -> None:
    speakers, utterances = recordings(6, 3)
    rngs = map(np.random.default_rng, (1, 1, 2))
    drawn, again, other = (make_trials(speakers, utterances, rng, maximum) for rng in rngs)
    assert len({*zip(drawn.first.tolist(), drawn.second.tolist(), strict=True)}) == len(drawn.first) <= maximum
    assert (utterances[drawn.first] != utterances[drawn.second]).all()
    np.testing.assert_array_equal(drawn.first, again.first)
    assert drawn.first.tolist() != other.first.tolist()


def test_planted_speakers_are_verified_and_random_latents_are_not() -> None:
    rng = np.random.default_rng(0)
    speakers, utterances = recordings(20, 5)
    trials = make_trials(speakers, utterances, rng)
    planted = rng.normal(size=(20, 16)).astype(np.float32)[speakers]
    assert equal_error_rate(cosine_scores(planted, trials), trials.same) == 0
    noise = rng.normal(size=(200, 16)).astype(np.float32)
    low, high = np.quantile(bootstrap_rates(cosine_scores(noise, trials), trials, 200, seed=0), [0.005, 0.995])
    assert low < 0.5 < high
    assert high - low < 0.2


def test_a_cosine_is_a_cosine() -> None:
    speakers, utterances = recordings(3, 2)
    trials = make_trials(speakers, utterances, np.random.default_rng(0))
    latents = np.random.default_rng(1).normal(size=(12, 5)).astype(np.float32)
    for a, b, score in zip(trials.first, trials.second, cosine_scores(latents, trials, block=7), strict=True):
        expected = latents[a] @ latents[b] / (np.linalg.norm(latents[a]) * np.linalg.norm(latents[b]))
        assert score == pytest.approx(expected, abs=1e-6)


def test_the_bootstrap_is_paired_and_covers_the_rate() -> None:
    rng = np.random.default_rng(3)
    speakers, utterances = recordings(15, 4)
    trials = make_trials(speakers, utterances, rng)
    voices = rng.normal(size=(15, 8)).astype(np.float32)[speakers]
    clear, dim = (voices + noise * rng.normal(size=voices.shape).astype(np.float32) for noise in (0.8, 1.6))
    rates = [bootstrap_rates(cosine_scores(latents, trials), trials, 100, seed=7) for latents in (clear, dim)]
    rate = equal_error_rate(cosine_scores(clear, trials), trials.same)
    assert np.quantile(rates[0], 0.025) <= rate <= np.quantile(rates[0], 0.975)
    assert np.std(rates[0] - rates[1]) < np.std(rates[0] - rng.permutation(rates[1]))  # the same speakers in both
