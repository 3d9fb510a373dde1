"""The released script's step, as the benchmark has it, computes what ours does: otherwise the rates say nothing."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from seqviews.model.gaussian import Gaussian
from seqviews.model.methods.cdsvae_released import ReleasedCDSVAE
from seqviews.tools.benchmarks.step import ALPHA, BETA, GAMMA, SHAPE, Side, ThreePasses, random_views


def small() -> ReleasedCDSVAE:
    torch.manual_seed(0)
    return ReleasedCDSVAE(frame_shape=SHAPE, alpha=ALPHA, beta=BETA, gamma=GAMMA, width=0.125, hidden_dim=24)


def test_three_full_passes_give_our_loss_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    def mean(self: Gaussian, generator: torch.Generator | None = None) -> Tensor:
        return self.mean

    monkeypatch.setattr(Gaussian, "rsample", mean)  # the two sides draw in another order
    model = small().double()
    views = random_views(4, channels_last=True)
    assert views.motion is not None
    views = type(views)(views.anchor.double(), views.motion.double(), views.order)
    ours = model.loss(views, "model").total
    theirs = ThreePasses(model, torch.contiguous_format).loss(views, "model").total
    assert_close(ours, theirs)
    parameters = list(model.parameters())
    gradients = [torch.autograd.grad(total, parameters, materialize_grads=True) for total in (ours, theirs)]
    assert any(gradient.abs().max() > 0 for gradient in gradients[0])
    assert_close(*gradients, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("full_passes", [False, True])
def test_the_stages_are_those_of_the_side_and_make_up_its_step(
    full_passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def took(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr("time.perf_counter", lambda: now)
    model = small()
    passes = ThreePasses(model, torch.contiguous_format)
    of = passes if full_passes else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    monkeypatch.setattr(optimizer, "step", lambda: took(3.0))
    loss = passes.loss if full_passes else model.loss
    side = Side(loss, of.encoder, of.decoder, optimizer, random_views(2, channels_last=True), bfloat16=False)
    for module, seconds in ((of.encoder, 1.0), (of.decoder, 0.5)):
        last = next(m for m in reversed(list(module.modules())) if isinstance(m, torch.nn.Tanh | torch.nn.Sigmoid))
        last.register_forward_hook(lambda *_, seconds=seconds: took(seconds))
    encodings, decodings = (3, 3) if full_passes else (2, 1)
    expected = {"encoder": 1000.0 * encodings, "decoder": 500.0 * decodings}
    for _ in range(2):
        assert side.stages() == expected | {"other networks, loss": 0.0, "backward": 0.0, "optimizer": 3000.0}
