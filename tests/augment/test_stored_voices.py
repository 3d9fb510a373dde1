"""StoredVoices: the seed of a record decides its conversion and channel, whatever the batch."""

import numpy as np
import pytest
import torch
from scipy import fft  # type: ignore[import-untyped]

from seqviews.augment.stored_voices import StoredVoices
from seqviews.augment.temporal import TemporalShuffle


def test_a_view_is_the_drawn_voice_whatever_the_batch() -> None:
    converted, seeds = torch.randn(50, 4, 20, 8).half(), torch.arange(50)
    motion = StoredVoices(4)
    params = motion.draw(seeds)
    view = motion(converted, params)
    assert view.dtype == torch.float32
    assert torch.equal(view, torch.stack([x[v] for x, v in zip(converted, params["voice"], strict=True)]).float())
    motion = StoredVoices(4, channel=0.5)
    whole = motion(converted, motion.draw(seeds))
    torch.testing.assert_close(motion(converted[[7, 3]], motion.draw(seeds[[7, 3]])), whole[[7, 3]])


def test_a_channel_adds_the_same_to_all_frames() -> None:
    """By SciPy's transform: four weights in the given range, the others 0."""
    converted, seeds = torch.randn(3000, 1, 6, 40).half(), torch.arange(3000)
    motion = StoredVoices(1, channel=0.5)
    raised = (motion(converted, motion.draw(seeds)) - converted[:, 0].float()).double()
    torch.testing.assert_close(raised, raised[:, :1].expand_as(raised), atol=1e-5, rtol=0)
    weights = fft.dct(raised[:, 0].numpy(), norm="forward") * np.where(np.arange(40), 2, 1)
    assert abs(weights[:, 4:]).max() < 1e-5
    assert (abs(weights[:, :4]) <= 0.5 + 1e-5).all()
    assert (abs(weights[:, :4].std(axis=0) - 0.5 / 3**0.5) < 0.02).all()
    assert (abs(np.corrcoef(weights[:, :4].T) - np.eye(4)) < 0.08).all()


def test_voices_are_equally_likely_and_independent_of_the_order() -> None:
    seeds = torch.arange(8000)
    choice = StoredVoices(4).draw(seeds)["voice"]
    counts = torch.bincount(choice, minlength=4)
    assert (counts - 2000).abs().max() < 200
    first = TemporalShuffle().draw(seeds, 8)[:, 0]
    assert abs(torch.corrcoef(torch.stack([choice, first]).double())[0, 1]) < 0.05


def test_without_parameters_torchs_generator_draws() -> None:
    converted = torch.arange(3.0).view(1, 3, 1, 1).repeat(200, 1, 2, 2)
    torch.manual_seed(0)
    first, second = StoredVoices(3)(converted), StoredVoices(3)(converted)
    assert set(first.unique().tolist()) == {0, 1, 2}
    assert not torch.equal(first, second)


def test_invalid_arguments() -> None:
    with pytest.raises(ValueError, match="--voices"):
        StoredVoices(0)
    for channel in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="channel is"):
            StoredVoices(4, channel)
    for shape in [(2, 3, 20, 80), (2, 20, 80)]:
        with pytest.raises(ValueError, match=r"takes \[B, 4, T, n_mels\]"):
            StoredVoices(4)(torch.zeros(shape))
