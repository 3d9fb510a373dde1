"""Swaps of synthetic voices, against loops over the pairs."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from toy_speech import FRAMES, HALF, N_MELS, SCALE, PerfectSpeech

from seqviews.model.evaluate.encode import Encoded
from seqviews.model.evaluate.speech.recordings import VECTORS, Recordings
from seqviews.model.evaluate.speech.sounds import SoundClasses
from seqviews.model.evaluate.speech.swaps import Decoder, SpeakerJudge, swap_metrics

SPEAKERS, UTTERANCES, SEGMENTS = 4, 10, 3


def speech(rng: np.random.Generator) -> tuple[Encoded, Recordings]:
    """Segments whose s is the voice of their speaker and whose z are their words."""
    voices = torch.from_numpy(np.random.default_rng(5).normal(size=(SPEAKERS, HALF))).float()
    who = torch.arange(SPEAKERS).repeat_interleave(UTTERANCES * SEGMENTS)
    z = torch.from_numpy(rng.normal(size=(len(who), FRAMES, HALF))).float()
    mel = SCALE.inverse(PerfectSpeech().decode(voices[who], z))
    utterances = np.arange(SPEAKERS * UTTERANCES).repeat(SEGMENTS)
    vectors = {name: np.zeros((len(who), 2), np.float32) for name in VECTORS}
    values = {"static": voices[who], "dynamic": z, "mel": mel}
    encoded = Encoded([f"u{u}-{i}" for i, u in enumerate(utterances)], torch.arange(len(who)), {"speaker": who}, values)
    return encoded, Recordings(vectors, who.numpy(), utterances)


@pytest.fixture
def sounds() -> SoundClasses:
    encoded, _ = speech(np.random.default_rng(1))
    return SoundClasses(encoded.values["mel"].flatten(0, 1).numpy())


def measured(encoded: Encoded, recordings: Recordings, sounds: SoundClasses, seed: int = 0) -> dict[str, float]:
    decode = Decoder(PerfectSpeech(), SCALE, "cpu")
    return {name: e.value for name, e in swap_metrics(decode, encoded, recordings, sounds, seed=seed).items()}


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_voices_are_found_where_they_are(share: float, sounds: SoundClasses) -> None:
    """Of a share of the speakers the latents are exchanged: what is decoded has the voice of another."""
    encoded, recordings = speech(np.random.default_rng(0))
    moved = encoded.factors["speaker"] < share * SPEAKERS
    # the s of these speakers is that of the next one
    static = torch.where(moved[:, None], encoded.static.roll(-UTTERANCES * SEGMENTS, 0), encoded.static)
    values = encoded.values | {"static": static}
    metrics = measured(Encoded(encoded.keys, encoded.indices, encoded.factors, values), recordings, sounds)
    for level in ("segment", "utterance"):
        swap = f"many/{level}/swap/"
        assert metrics[f"{swap}ceiling"] == 1
        assert metrics[f"{swap}reconstruction"] == pytest.approx(1 - share)
        assert metrics[f"{swap}voice_of_s"] == pytest.approx(1 - share, abs=0.05)
        assert sum(metrics[f"{swap}voice_of_{who}"] for who in ("s", "z", "another")) == pytest.approx(1)
        if share == 1:  # the voice is then of z if z's speaker is the one after that of s: one of three
            assert metrics[f"{swap}voice_of_z"] == pytest.approx(1 / 3, abs=0.07)
    assert metrics["many/segment/swap/words_of_z"] > 0.8


def test_nothing_is_swapped_without_two_speakers_of_two_utterances(sounds: SoundClasses) -> None:
    encoded, recordings = speech(np.random.default_rng(0))
    single = Recordings(recordings.vectors, recordings.speakers, recordings.speakers)
    assert measured(encoded, single, sounds) == {}


def test_the_seed_decides_the_pairs(sounds: SoundClasses) -> None:
    encoded, recordings = speech(np.random.default_rng(0))
    first, again, other = (measured(encoded, recordings, sounds, seed) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("speakers", [2, 3])
def test_the_judge_names_voices(speakers: int) -> None:
    def utterances(seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        rng = np.random.default_rng(seed)
        who = rng.permutation(np.arange(speakers).repeat(40))
        mels = (
            rng.normal(size=(len(who), FRAMES, N_MELS))
            + np.random.default_rng(0).normal(size=(speakers, N_MELS))[who][:, None]
        )
        return mels.astype(np.float32), 7 + who

    judge = SpeakerJudge(*utterances(1))
    mels, who = utterances(2)
    assert (judge.named(judge.scores(mels)) == who).mean() > 0.9
    assert (judge.named(judge.scores(mels)) == judge.named(judge.scores(mels + 0.0))).all()
