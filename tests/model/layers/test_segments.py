from typing import Any

import pytest
import torch
from torch.testing import assert_close

from seqviews.augment.views import Views
from seqviews.model.layers.segments import SegmentDecoder, SegmentEncoder
from seqviews.model.methods.cdsvae import CDSVAE


def test_frames_are_coded_one_by_one() -> None:
    torch.manual_seed(0)
    encoder, decoder = SegmentEncoder(10, 6, 0.1), SegmentDecoder(10, 5, 0.1)
    frames, latents = torch.randn(7, 10), torch.randn(7, 5)
    assert encoder(frames).shape == (7, 6)
    assert decoder(latents).shape == (7, 10)
    assert encoder(100 * frames).abs().max() <= 1
    assert_close(encoder(frames)[3:4], encoder(frames[3:4]))
    assert_close(decoder(latents)[3:4], decoder(latents[3:4]))
    assert (decoder(100 * latents).abs() > 1).any()  # mels are not bounded, as pixels are

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert decoder(latents).dtype == torch.float32  # that of the latents
    for network in (SegmentEncoder, SegmentDecoder):
        with pytest.raises(ValueError, match="width is 0"):
            network(10, 6, 0)


def test_s_learns_the_voice_and_z_the_words() -> None:
    """A minute of training on voices and words that are independent: each latent follows its own half."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"static_dim": 4, "dynamic_dim": 4, "feature_dim": 16, "hidden_dim": 24}
    model = CDSVAE(frame_shape=(8,), alpha=0.1, beta=5.0, gamma=0.0, width=0.1, **sizes)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    def segments(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        words = torch.randn(n, 5, 4)
        voice, other = torch.randn(2, n, 1, 4).expand(-1, -1, 5, -1)
        return torch.cat([words, voice], 2), torch.cat([words, other], 2)

    order = torch.rand(64, 5).argsort(1)
    for _ in range(150):
        optimizer.zero_grad()
        model.loss(Views(*segments(64), order)).total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    anchor, motion = segments(200)
    a, b = model.encode(anchor), model.encode(motion)
    same_words = torch.cosine_similarity(a.dynamic.mean.flatten(1), b.dynamic.mean.flatten(1)).mean()
    same_voice = torch.cosine_similarity(a.static.mean, b.static.mean).mean()
    assert same_words > 0.7
    assert same_voice < 0.3
