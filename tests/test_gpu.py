"""The same on a GPU as on the CPU; skipped where there is none."""

import pytest
import torch

from seqviews.augment import MultiView, TemporalShuffle, VideoMotion, record_seeds
from seqviews.model.methods.cdsvae import CDSVAE

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def test_views_are_the_same() -> None:
    x = torch.randint(0, 256, (4, 8, 32, 32, 3), dtype=torch.uint8).permute(0, 1, 4, 2, 3)
    views_of, seeds = MultiView(VideoMotion(), TemporalShuffle()), record_seeds(0, 0, torch.arange(4))
    here, there = views_of(x, seeds), views_of(x.cuda(), seeds)
    assert here.motion is not None
    assert here.order is not None
    assert there.motion is not None
    assert there.order is not None
    assert there.motion.is_cuda
    torch.testing.assert_close(there.motion.cpu(), here.motion, atol=1e-4, rtol=0)
    assert torch.equal(there.order.cpu(), here.order)


def test_a_step_runs_without_a_host_sync() -> None:
    model = CDSVAE(frame_shape=(3, 32, 32), width=0.25).cuda()
    x = torch.randint(0, 256, (8, 8, 32, 32, 3), dtype=torch.uint8).permute(0, 1, 4, 2, 3).cuda()
    views_of, seeds = MultiView(VideoMotion(), TemporalShuffle()).cuda(), record_seeds(0, 0, torch.arange(8))
    torch.autograd.backward(model.loss(views_of(x, seeds)).total)
    views = views_of(x, seeds)
    torch.cuda.set_sync_debug_mode("error")
    try:
        torch.autograd.backward(model.loss(views).total)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())
