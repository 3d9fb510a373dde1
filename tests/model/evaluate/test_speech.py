"""Error rates of toy speech, whose speakers are known; the rate itself is tested in test_verification."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_speech import FRAMES, HALF, SCALE, SEGMENTS, PerfectSpeech

from seqviews.model.evaluate.encode import encode
from seqviews.model.evaluate.probe import Frames, mfcc, probe
from seqviews.model.evaluate.speech import SpeechLatents, error_rates, verify
from seqviews.pipeline.stream.stream import SequenceStream

LEVELS = [f"{group}/{level}" for group in ("all", "many") for level in ("segment", "utterance")]


@pytest.fixture(scope="module")
def latents(speech: Path) -> SpeechLatents:
    stream = SequenceStream(speech / "test", 16, factors=("speaker",))
    return SpeechLatents.of_segments(encode(PerfectSpeech(), stream, SCALE))


def test_a_perfect_method_has_the_speaker_in_s_alone(latents: SpeechLatents) -> None:
    rates = error_rates(verify(latents, resamples=50))
    for place in LEVELS:
        motion = rates[f"{place}/motion_eer"]
        assert rates[f"{place}/content_eer"] == rates[f"{place}/content_eer_high"] == 0
        assert 0.3 < motion < 0.7
        assert rates[f"{place}/gap"] == motion
        assert rates[f"{place}/motion_eer_low"] <= motion <= rates[f"{place}/motion_eer_high"]


def test_utterances_are_means_over_their_segments(latents: SpeechLatents) -> None:
    means = latents.utterance_means()
    assert len(means.speakers) == 2 * 10 + 3 * 3
    for i, utterance in enumerate(means.utterances):
        rows = latents.utterances == utterance
        assert rows.sum() == SEGMENTS
        np.testing.assert_allclose(means.motion[i], latents.motion[rows].mean(axis=0), atol=1e-6)
        assert (latents.speakers[rows] == means.speakers[i]).all()
    assert latents.motion.shape == (SEGMENTS * 29, FRAMES * HALF)


def test_the_group_many_has_speakers_with_ten_utterances(latents: SpeechLatents) -> None:
    results = verify(latents, resamples=2)
    assert len(results["many/utterance/content"].same) == 20 * 19 // 2
    few = latents.select(latents.speakers != latents.speakers.min())
    assert not any(name.startswith("many/") for name in verify(few, resamples=2))


def test_the_difference_from_a_baseline_is_paired(latents: SpeechLatents) -> None:
    noise = np.random.default_rng(0).normal(size=latents.content.shape)
    worse = replace(latents, content=(latents.content + noise).astype(np.float32))
    results, baseline = verify(latents, resamples=50), verify(worse, resamples=50)
    rates = error_rates(baseline)
    differences = error_rates(results, baseline)
    assert set(differences) == set(rates)
    assert differences["all/segment/content_eer"] == -rates["all/segment/content_eer"] < 0
    assert differences["all/segment/motion_eer"] == differences["all/segment/motion_eer_high"] == 0
    assert differences["all/segment/gap"] == -differences["all/segment/content_eer"]
    assert set(error_rates(results, results).values()) == {0}


def test_the_probe_finds_sounds_in_z_and_not_in_noise() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(40, 20)).astype(np.float32) * 3
    basis = np.linalg.qr(np.random.default_rng(7).normal(size=(20, 20)))[0]

    def frames(n: int, noise: bool) -> Frames:
        mel = kinds[rng.integers(0, 40, n)] + rng.normal(size=(n, 20)).astype(np.float32) * 0.1
        z = rng.normal(size=(n, 20)) if noise else mel @ basis
        return Frames(z.astype(np.float32), mel)

    sounds, noise = (probe(frames(1500, noise), frames(500, noise)) for noise in (False, True))
    assert sounds["probe/z"] > 0.95 * sounds["probe/mel"] > 0.8
    assert noise["probe/z"] < 0.2


def test_mfcc_are_a_cosine_transform() -> None:
    mel = np.random.default_rng(0).normal(size=(5, 20)).astype(np.float32)
    k, n = np.arange(13)[:, None], np.arange(20)
    basis = np.sqrt(2 / 20) * np.cos(np.pi * k * (2 * n + 1) / 40)
    basis[0] /= np.sqrt(2)
    np.testing.assert_allclose(mfcc(mel), mel @ basis.T, atol=1e-5)
