"""Attacks on planted latents; the equal error rate itself is tested in test_verification."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from seqviews.model.evaluate.speech.attacks import error_rates, fit_projections, verify
from seqviews.model.evaluate.speech.intervals import differences, with_intervals
from seqviews.model.evaluate.speech.recordings import LEVELS, VECTORS, Recordings

PLACES = [f"{group}/{level}" for group in ("all", "many") for level in LEVELS]
Vectors = NDArray[np.float32]


def planted(first: int, speakers: int, utterances: int, segments: int = 2) -> Recordings:
    """Recordings whose s is the voice, whose z hides it from the cosine, and whose other vectors are noise.

    z is noise of variance 1 in 15 dimensions, and in the last the first number of the voice, a hundred times smaller.
    """
    voices = np.random.default_rng(first).normal(size=(speakers, 8))
    who = np.arange(speakers).repeat(utterances * segments)
    rng = np.random.default_rng(first + 1)
    vectors = {name: rng.normal(size=(len(who), 16)).astype(np.float32) for name in VECTORS}
    vectors["s"] = voices[who].astype(np.float32)
    for name in ("z", "z_mean"):
        hidden = voices[who] + 0.1 * rng.normal(size=(len(who), 8))
        vectors[name] = np.concatenate([vectors[name][:, :8], 0.01 * hidden], axis=1).astype(np.float32)
    return Recordings(vectors, first + who, np.arange(speakers * utterances).repeat(segments))


@pytest.fixture(scope="module")
def train() -> Recordings:
    return planted(100, 30, 3)


@pytest.fixture(scope="module")
def tested() -> Recordings:
    return planted(0, 8, 10)


def test_a_linear_map_finds_what_the_cosine_does_not(train: Recordings, tested: Recordings) -> None:
    rates = with_intervals(error_rates(verify(tested, fit_projections(train), resamples=20)))
    for place in PLACES:
        assert rates[f"{place}/content_eer"] == rates[f"{place}/content_eer_high"] == 0
        assert rates[f"{place}/motion_eer"] > 0.35
        for scorer in ("lda", "linear"):
            assert rates[f"{place}/eer/z_mean/{scorer}"] < 0.1
            assert rates[f"{place}/eer/mel/{scorer}"] > 0.35
        assert rates[f"{place}/gap"] == rates[f"{place}/motion_eer"] - rates[f"{place}/content_eer"]
        assert rates[f"{place}/motion_eer_low"] <= rates[f"{place}/motion_eer"] <= rates[f"{place}/motion_eer_high"]


def test_projections_of_means_are_means_of_projections(train: Recordings, tested: Recordings) -> None:
    segments = tested.vectors["z"]
    for name, project in fit_projections(train).items():
        if name.startswith("z/"):
            np.testing.assert_allclose(project(segments[:9]).mean(0), project(segments[:9].mean(0)[None])[0], atol=1e-3)


def test_baselines_are_standardised(train: Recordings) -> None:
    shifted = replace(train, vectors={name: vector + 50 for name, vector in train.vectors.items()})
    project = fit_projections(shifted)["mfcc/cosine"]
    projected = project(shifted.vectors["mfcc"])
    np.testing.assert_allclose(projected.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(projected.std(0), 1, atol=1e-3)


def test_two_training_speakers_are_enough(tested: Recordings) -> None:
    rates = error_rates(verify(tested, fit_projections(planted(200, 2, 3)), resamples=2))
    assert np.isfinite([rate.value for rate in rates.values()]).all()


def test_the_group_many_has_speakers_with_ten_utterances(train: Recordings, tested: Recordings) -> None:
    projections = fit_projections(train)
    results = verify(tested, projections, resamples=2)
    assert len(results["many/utterance/s/cosine"].same) == 80 * 79 // 2
    few = tested.select((tested.utterances % 10 > 0) | (tested.speakers < 1))
    assert not any(name.startswith("many/") for name in verify(few, projections, resamples=2))


def test_the_difference_from_a_baseline_is_paired(train: Recordings, tested: Recordings) -> None:
    noise = np.random.default_rng(0).normal(size=tested.vectors["s"].shape)
    worse = replace(tested, vectors={**tested.vectors, "s": (tested.vectors["s"] + noise).astype(np.float32)})
    projections = {name: p for name, p in fit_projections(train).items() if name.endswith("cosine")}
    rates, baseline = (error_rates(verify(recordings, projections, resamples=5)) for recordings in (tested, worse))
    found = with_intervals(differences(rates, baseline))
    assert set(found) == set(with_intervals(rates))
    assert found["all/segment/content_eer"] == -baseline["all/segment/content_eer"].value < 0
    assert found["all/segment/motion_eer"] == found["all/segment/motion_eer_high"] == 0
    assert found["all/segment/gap"] == -found["all/segment/content_eer"]
    assert set(with_intervals(differences(rates, rates)).values()) == {0}
