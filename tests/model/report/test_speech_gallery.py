from __future__ import annotations

import io
from typing import cast

import numpy as np
import soundfile
import torch
from toy_speech import HALF, N_MELS, PerfectSpeech, ToySpeech

from seqviews.model.evaluate.speech import Verified
from seqviews.model.protocol import SequenceModel
from seqviews.model.report.audio import mel_to_wave, wav
from seqviews.model.report.speech_gallery import (
    HEARD,
    Utterance,
    choose,
    cross_grid,
    error_figure,
    heatmap,
    loudest,
    players,
)
from seqviews.model.scaling import MelScale
from seqviews.pipeline.sources.audio import MEL, log_mel

INFO = ToySpeech().info
assert INFO.features.mel is not None
MODEL, SCALE, MELS = cast(SequenceModel, PerfectSpeech()), MelScale(INFO.features.mel), INFO.features.mel.parameters


def test_a_heatmap_has_low_frequencies_at_the_bottom_and_time_to_the_right() -> None:
    segment = torch.full((3, 5), -2.5)
    segment[2, 0] = 2.5
    image = heatmap(segment).astype(int).sum(axis=2)
    assert image.shape == (10, 12)
    bright = image == image.max()
    assert bright[8:, 8:].all()
    assert bright.sum() == 8


def test_cross_generation_takes_s_by_row_and_z_by_column() -> None:
    decoded: list[torch.Tensor] = []

    class Recording(PerfectSpeech):
        def decode(self, s: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
            decoded.append(super().decode(s, z))
            return decoded[-1]

    segments = torch.randn(3, 6, N_MELS)
    segments[..., HALF:] = segments[:, :1, HALF:]
    assert cross_grid(cast(SequenceModel, Recording()), segments).shape[2] == 3
    for i, row in enumerate(decoded):
        for j, made in enumerate(row):
            torch.testing.assert_close(made[:, HALF:], segments[i, :, HALF:])
            torch.testing.assert_close(made[:, :HALF], segments[j, :, :HALF])
        torch.testing.assert_close(row[i], segments[i])


def test_a_tone_is_heard_again() -> None:
    tone = (0.3 * np.sin(2 * np.pi * 1000 * np.arange(8000) / 16000)).astype(np.float32)
    again = mel_to_wave(log_mel(tone), MEL)
    assert len(again) == len(tone)
    spectrum = np.abs(np.fft.rfft(again))
    assert abs(np.fft.rfftfreq(len(again), 1 / 16000)[spectrum.argmax()] - 1000) < 40
    assert 0.5 < again.std() / tone.std() < 2
    np.testing.assert_array_equal(again, mel_to_wave(log_mel(tone), MEL))
    read, rate = soundfile.read(io.BytesIO(wav(again, 16000)), dtype="float32")
    assert rate == 16000
    np.testing.assert_allclose(read, again, atol=1e-4)


def test_what_overflows_is_clipped() -> None:
    wave = mel_to_wave(np.full((10, N_MELS), 1000, np.float32), MELS)
    assert np.isfinite(wave).all()
    assert np.abs(wave).max() == 1


def test_players_tell_what_is_heard_and_swap_with_the_next() -> None:
    x = torch.randn(2, 3, 6, N_MELS) * 2 - 6
    utterances = [Utterance("a-s1", x[0], x[0, :, None].repeat(1, 2, 1, 1)), Utterance("b-s2", x[1], None)]
    played = players(MODEL, SCALE, utterances, MELS)
    told = [(player.heading, player.caption.partition(":")[0].partition(",")[0]) for player in played]
    own = ["original", "converted by WORLD", "converted by WORLD", "reconstruction", "swap"]
    assert told == [("a-s1", what) for what in own] + [("b-s2", what) for what in (own[0], *own[3:])]
    assert "of b-s2" in played[4].caption
    assert played[0].wav == played[1].wav  # these conversions are copies
    assert len({player.wav for player in played}) == len(played) - 2
    assert len(players(MODEL, SCALE, utterances[:1], MELS)) == 4  # nobody to swap with


def test_long_utterances_of_different_speakers_are_chosen() -> None:
    keys = [f"p{p}-s{u}-{n:04d}" for p in range(4) for u in range(3) for n in range(3 + 20 * (u == 1))]
    speakers = np.array([int(key[1]) for key in keys])
    chosen = choose(keys, speakers, 3, seed=0)
    assert len({name.partition("-")[0] for name in chosen}) == 3
    assert all(name.endswith("-s1") for name in chosen)
    assert choose(keys, speakers, 3, seed=0) == chosen
    assert len(choose(keys, speakers, 9, seed=0)) == 4
    assert HEARD < 23


def test_the_loudest_segment_is_shown() -> None:
    x = torch.zeros(4, 6, N_MELS)
    x[2] = 1
    assert torch.equal(loudest(Utterance("a", x, None)), x[2])


def test_error_curves_have_a_row_for_each_place() -> None:
    rng = np.random.default_rng(0)
    same = np.arange(100) < 30
    one = Verified(rng.normal(size=100).astype(np.float32) + same, same, 0.3, np.zeros(1))
    places = {
        f"{place}/{latent}": one for place in ("all/segment", "all/utterance") for latent in ("content", "motion")
    }
    assert error_figure(places).shape[0] == 2 * error_figure(dict(list(places.items())[:2])).shape[0]
