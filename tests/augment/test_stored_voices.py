"""StoredVoices: a record's seed picks one of its conversions and a channel, whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import fft  # type: ignore[import-untyped]

from seqviews.augment.stored_voices import StoredVoices
from seqviews.augment.temporal import TemporalShuffle


def test_a_view_is_the_voice_that_was_drawn() -> None:
    converted = torch.randn(50, 4, 20, 8).half()
    motion = StoredVoices(4)
    params = motion.draw(torch.arange(50))
    choice, view = params["voice"], motion(converted, params)
    assert view.dtype == torch.float32
    for b in range(50):
        assert torch.equal(view[b], converted[b, int(choice[b])].float())


def test_the_same_seed_picks_the_same_voice_in_any_batch() -> None:
    motion, seeds = StoredVoices(5, channel=0.5), torch.arange(100)
    converted = torch.randn(100, 5, 6, 8)
    whole = motion(converted, motion.draw(seeds))
    torch.testing.assert_close(motion(converted[[7, 3]], motion.draw(seeds[[7, 3]])), whole[[7, 3]])


def test_a_channel_raises_each_mel_by_the_same_in_all_frames() -> None:
    """By SciPy's transform: four numbers of the range asked, the others 0."""
    converted, seeds = torch.randn(3000, 1, 6, 40).half(), torch.arange(3000)
    motion = StoredVoices(1, channel=0.5)
    raised = (motion(converted, motion.draw(seeds)) - converted[:, 0].float()).double()
    torch.testing.assert_close(raised, raised[:, :1].expand_as(raised), atol=1e-5, rtol=0)
    weights = fft.dct(raised[:, 0].numpy(), norm="forward") * np.where(np.arange(40), 2, 1)
    assert abs(weights[:, 4:]).max() < 1e-5
    assert (abs(weights[:, :4]) <= 0.5 + 1e-5).all()
    assert (abs(weights[:, :4].std(axis=0) - 0.5 / 3**0.5) < 0.02).all()
    assert (abs(np.corrcoef(weights[:, :4].T) - np.eye(4)) < 0.08).all()


def test_every_voice_is_as_likely_and_says_nothing_of_the_order() -> None:
    seeds = torch.arange(8000)
    choice = StoredVoices(4).draw(seeds)["voice"]
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
    for channel in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="channel is"):
            StoredVoices(4, channel)
    for shape in [(2, 3, 20, 80), (2, 20, 80)]:
        with pytest.raises(ValueError, match=r"takes \[B, 4, T, n_mels\]"):
            StoredVoices(4)(torch.zeros(shape))
