from pathlib import Path

import torch
from toy_speech import FRAMES, N_MELS, SCALE, SEGMENTS, PerfectSpeech, ToySpeech

from seqviews.model.evaluate.encode import encode
from seqviews.model.evaluate.speech.panels import (
    MAX_SEGMENTS,
    SpokenSegments,
    choose_utterances,
    players,
    read_utterances,
)
from seqviews.pipeline.stream.stream import SequenceStream

FEATURES = ToySpeech().info.features


def test_long_utterances_of_different_speakers_are_chosen() -> None:
    keys = [f"p{p}-s{u}-{n:04d}" for p in range(4) for u in range(3) for n in range(3 + 20 * (u == 1))]
    speakers = torch.tensor([int(key[1]) for key in keys])
    chosen = choose_utterances(keys, speakers, 3, seed=0)
    assert len({name.partition("-")[0] for name in chosen}) == 3
    assert all(name.endswith("-s1") for name in chosen)
    assert choose_utterances(keys, speakers, 3, seed=0) == chosen
    assert len(choose_utterances(keys, speakers, 9, seed=0)) == 4
    assert MAX_SEGMENTS < 23


def test_utterances_are_read_in_order(speech: Path) -> None:
    stream = SequenceStream(speech / "test", 16, seed=3)
    names = ["test3-s2", "test0-s9"]
    utterances = read_utterances(stream, encode(PerfectSpeech(), stream, SCALE), names)
    assert [utterance.name for utterance in utterances] == names
    stored: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for batch in stream:
        assert batch.converted is not None
        stored |= dict(zip(batch.keys, zip(batch.x, batch.converted, strict=True), strict=True))
    for utterance in utterances:
        assert utterance.converted is not None
        assert len(utterance.x) == SEGMENTS
        for number, (x, voices) in enumerate(zip(utterance.x, utterance.converted, strict=True)):
            expected = stored[f"{utterance.name}-{number:04d}"]
            assert torch.equal(x, expected[0])
            assert torch.equal(voices, expected[1].float())


def test_the_loudest_segment_is_shown() -> None:
    x = torch.zeros(4, FRAMES, N_MELS)
    x[2] = 1
    assert torch.equal(SpokenSegments("a", x, None).loudest(), x[2])


def test_players_are_of_all_voices_and_swap_with_the_next_utterance() -> None:
    x = torch.randn(2, 3, FRAMES, N_MELS) * 2 - 6
    utterances = [SpokenSegments("a-s1", x[0], x[0, :, None].repeat(1, 2, 1, 1)), SpokenSegments("b-s2", x[1], None)]
    played = players(PerfectSpeech(), SCALE, utterances, FEATURES)
    captions = [(player.heading, player.caption.partition(":")[0].partition(",")[0]) for player in played]
    own = ["original", "converted by WORLD", "converted by WORLD", "reconstruction", "swap"]
    assert captions == [("a-s1", what) for what in own] + [("b-s2", what) for what in (own[0], *own[3:])]
    assert "of b-s2" in played[4].caption
    assert played[0].wav == played[1].wav  # these conversions are copies
    assert len({player.wav for player in played}) == len(played) - 2
    assert len(players(PerfectSpeech(), SCALE, utterances[:1], FEATURES)) == 4  # there is no other speaker
