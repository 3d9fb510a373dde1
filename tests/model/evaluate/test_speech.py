"""Error rates of toy speech, of which it is known who speaks; the rate itself is tested in test_verification."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from toy_speech import FRAMES, HALF, SEGMENTS, PerfectSpeech, ToySpeech

from seqviews.model.evaluate.encode import encode_split
from seqviews.model.evaluate.probe import Frames, mfcc, probe
from seqviews.model.evaluate.speech import Spoken, differences, error_rates, spoken_of, verify
from seqviews.model.protocol import SequenceModel
from seqviews.model.scaling import MelScale
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.stream.stream import SequenceStream

INFO = ToySpeech().info
assert INFO.features.mel is not None
SCALE = MelScale(INFO.features.mel)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Spoken:
    out = tmp_path_factory.mktemp("speech") / "speech"
    prepare(ToySpeech(), out)
    stream = SequenceStream(out / "test", 16, factors=("speaker",))
    return spoken_of(encode_split(cast(SequenceModel, PerfectSpeech()), stream, scale=SCALE))


def test_a_perfect_model_knows_the_speaker_by_s_alone(spoken: Spoken) -> None:
    figures = error_rates(verify(spoken, resamples=50))
    for group in ("all", "many"):
        for level in ("segment", "utterance"):
            assert figures[f"{group}/{level}/content_eer"] == 0
            assert figures[f"{group}/{level}/content_eer_high"] == 0
            motion = figures[f"{group}/{level}/motion_eer"]
            assert 0.3 < motion < 0.7
            assert figures[f"{group}/{level}/gap"] == motion
            assert figures[f"{group}/{level}/motion_eer_low"] <= motion <= figures[f"{group}/{level}/motion_eer_high"]


def test_utterances_are_means_over_their_segments(spoken: Spoken) -> None:
    means = spoken.means()
    assert len(means.speakers) == 2 * 10 + 3 * 3
    for i, utterance in enumerate(means.utterances):
        rows = spoken.utterances == utterance
        assert rows.sum() == SEGMENTS
        np.testing.assert_allclose(means.motion[i], spoken.motion[rows].mean(axis=0), atol=1e-6)
        assert (spoken.speakers[rows] == means.speakers[i]).all()
    assert spoken.motion.shape == (SEGMENTS * 29, FRAMES * HALF)


def test_only_speakers_with_ten_utterances_are_many(spoken: Spoken) -> None:
    verdict = verify(spoken, resamples=2)
    assert len(verdict["many/utterance/content"].same) == 20 * 19 // 2
    few = spoken.chosen(spoken.speakers != spoken.speakers.min())
    assert not any(name.startswith("many/") for name in verify(few, resamples=2))


def test_two_runs_are_compared_in_pairs(spoken: Spoken) -> None:
    rng = np.random.default_rng(0)
    noisy = (spoken.content + rng.normal(size=spoken.content.shape)).astype(np.float32)
    worse = Spoken(noisy, spoken.motion, spoken.speakers, spoken.utterances)
    one, other = verify(spoken, resamples=50), verify(worse, resamples=50)
    less, rates = differences(one, other), error_rates(other)
    assert less["less/all/segment/content_eer"] == -rates["all/segment/content_eer"] < 0
    assert less["less/all/segment/motion_eer"] == less["less/all/segment/motion_eer_high"] == 0
    assert less["less/all/segment/gap"] == -less["less/all/segment/content_eer"]
    assert set(differences(one, one).values()) == {0}


def test_the_probe_finds_sounds_in_z_and_not_in_noise() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(40, 20)).astype(np.float32) * 3

    def frames(n: int, dead: bool) -> Frames:
        mel = kinds[rng.integers(0, 40, n)] + rng.normal(size=(n, 20)).astype(np.float32) * 0.1
        z = rng.normal(size=(n, 20)) if dead else mel @ np.linalg.qr(rng_of_basis().normal(size=(20, 20)))[0]
        return Frames(z.astype(np.float32), mel)

    alive, dead = (probe(frames(1500, dead), frames(500, dead)) for dead in (False, True))
    assert alive["probe/z"] > 0.95 * alive["probe/mel"] > 0.8
    assert dead["probe/z"] < 0.2


def rng_of_basis() -> np.random.Generator:
    return np.random.default_rng(7)


def test_mfcc_are_a_cosine_transform() -> None:
    mel = np.random.default_rng(0).normal(size=(5, 20)).astype(np.float32)
    k, n = np.arange(13)[:, None], np.arange(20)
    basis = np.sqrt(2 / 20) * np.cos(np.pi * k * (2 * n + 1) / 40)
    basis[0] /= np.sqrt(2)
    np.testing.assert_allclose(mfcc(mel), mel @ basis.T, atol=1e-5)


def test_mels_are_scaled_and_back() -> None:
    x = torch.randn(3, FRAMES, 16, dtype=torch.float64)
    torch.testing.assert_close(SCALE(x * 2 - 6), x.float(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(SCALE.inverse(SCALE(x)), x.float(), atol=1e-5, rtol=1e-5)
