import io

import numpy as np
import soundfile

from seqviews.model.report.audio import mel_to_wave, players_of, wav
from seqviews.pipeline.sources.audio import MEL, log_mel


def test_a_tone_is_heard_again_and_an_overflow_clipped() -> None:
    tone = (0.3 * np.sin(2 * np.pi * 1000 * np.arange(8000) / 16000)).astype(np.float32)
    again = mel_to_wave(log_mel(tone), MEL)
    assert len(again) == len(tone)
    spectrum = np.abs(np.fft.rfft(again))
    assert abs(np.fft.rfftfreq(len(again), 1 / 16000)[spectrum.argmax()] - 1000) < 40
    assert 0.5 < again.std() / tone.std() < 2
    np.testing.assert_array_equal(again, mel_to_wave(log_mel(tone), MEL))
    (player,) = players_of("an utterance", {"a tone": log_mel(tone)}, MEL, seed=0)
    assert (player.heading, player.caption, player.wav) == ("an utterance", "a tone", wav(again, 16000))
    read, rate = soundfile.read(io.BytesIO(player.wav), dtype="float32")
    assert rate == 16000
    np.testing.assert_allclose(read, again, atol=1e-4)
    overflow = mel_to_wave(np.full((10, MEL.n_mels), 1000, np.float32), MEL)
    assert np.isfinite(overflow).all()
    assert np.abs(overflow).max() == 1
