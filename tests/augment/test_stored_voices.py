"""StoredVoices: a record's seed picks one of its conversions, whatever the batch."""

from __future__ import annotations

import pytest
import torch

from seqviews.augment.stored_voices import StoredVoices
from seqviews.augment.temporal import TemporalShuffle


def test_a_view_is_the_voice_that_was_drawn() -> None:
    converted = torch.randn(50, 4, 20, 8).half()
    motion = StoredVoices(4)
    choice = motion.draw(torch.arange(50))
    view = motion(converted, choice)
    assert view.dtype == torch.float32
    for b in range(50):
        assert torch.equal(view[b], converted[b, int(choice[b])].float())


def test_the_same_seed_picks_the_same_voice_in_any_batch() -> None:
    motion, seeds = StoredVoices(5), torch.arange(100)
    whole = motion.draw(seeds)
    assert torch.equal(motion.draw(seeds[[7, 3]]), whole[[7, 3]])


def test_every_voice_is_as_likely_and_says_nothing_of_the_order() -> None:
    seeds = torch.arange(8000)
    choice = StoredVoices(4).draw(seeds)
    counts = torch.bincount(choice, minlength=4)
    assert (counts - 2000).abs().max() < 200
    first = TemporalShuffle().draw(seeds, 8)[:, 0]
    assert abs(torch.corrcoef(torch.stack([choice, first]).double())[0, 1]) < 0.05


def test_without_a_choice_torchs_generator_picks() -> None:
    converted = torch.arange(3.0).view(1, 3, 1, 1).repeat(200, 1, 2, 2)
    torch.manual_seed(0)
    first, second = StoredVoices(3)(converted), StoredVoices(3)(converted)
    assert set(first.unique().tolist()) == {0, 1, 2}
    assert not torch.equal(first, second)


def test_what_it_does_not_take() -> None:
    with pytest.raises(ValueError, match="--voices"):
        StoredVoices(0)
    for shape in [(2, 3, 20, 80), (2, 20, 80)]:
        with pytest.raises(ValueError, match=r"takes \[B, 4, T, n_mels\]"):
            StoredVoices(4)(torch.zeros(shape))
