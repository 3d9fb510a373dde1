from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from toy_speech import FRAMES, HALF, N_MELS, SCALE, SEGMENTS, PerfectSpeech

from seqviews.model.evaluate.encode import Encoded, encode, samples
from seqviews.model.evaluate.speech.recordings import VECTORS, Recordings
from seqviews.model.evaluate.speech.sounds import mfcc
from seqviews.pipeline.stream.stream import SequenceStream


@pytest.fixture(scope="module")
def segments(speech: Path) -> Encoded:
    stream = SequenceStream(speech / "test", 16, factors=("speaker",))
    generator = torch.Generator().manual_seed(0)
    return encode(PerfectSpeech(), stream, SCALE, keep=lambda x, p, batch: {"mel": batch.x, **samples(p, generator)})


def test_every_vector_is_that_of_its_segment(segments: Encoded) -> None:
    vectors = Recordings.of_segments(segments).vectors
    assert list(vectors) == list(VECTORS)
    mels, z = segments.values["mel"], segments.dynamic
    for i in (0, 7, len(segments) - 1):
        assert_allclose(vectors["mel"][i], mels[i].mean(0), atol=1e-5)
        assert_allclose(vectors["mfcc"][i], mfcc(mels[i].numpy(), 20).mean(0), atol=1e-4)
        assert_allclose(vectors["s"][i], segments.static[i])
        assert_allclose(vectors["z_mean"][i], z[i].mean(0), atol=1e-6)
        assert_allclose(vectors["z_deviation"][i], ((z[i] - z[i].mean(0)) ** 2).mean(0).sqrt(), atol=1e-5)
        assert_allclose(vectors["z"][i].reshape(FRAMES, HALF), z[i])
    deviation = vectors["z_sample"] - vectors["z"]
    of_mean = vectors["z_mean_sample"] - vectors["z_mean"]
    assert 0.9 < deviation.std() < 1.1, "the posterior of PerfectSpeech has variance 1"
    assert_allclose(of_mean, deviation.reshape(-1, FRAMES, HALF).mean(1), atol=1e-5)
    assert vectors["mfcc"].shape[1] == min(20, N_MELS)


def test_utterances_are_means_over_their_segments(segments: Encoded) -> None:
    recordings = Recordings.of_segments(segments)
    means = recordings.utterance_means()
    assert len(means.speakers) == 2 * 10 + 3 * 3
    for i, utterance in enumerate(means.utterances):
        rows = recordings.utterances == utterance
        assert rows.sum() == SEGMENTS
        assert_allclose(means.vectors["z"][i], recordings.vectors["z"][rows].mean(axis=0), atol=1e-6)
        assert np.unique(recordings.speakers[rows]).tolist() == [means.speakers[i]]
