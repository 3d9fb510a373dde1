"""The released script's step, as the benchmark has it, computes what ours does: else the two rates say nothing."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from seqviews.model.cdsvae import CDSVAE
from seqviews.model.gaussian import Gaussian
from seqviews.model.objective import LossTerms
from seqviews.tools.bench_step import SHAPE, ThreePasses, random_views


def test_three_full_passes_give_our_terms_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    def mean(self: Gaussian, generator: torch.Generator | None = None) -> Tensor:
        return self.mean

    monkeypatch.setattr(Gaussian, "rsample", mean)  # the two sides draw in another order
    torch.manual_seed(0)
    model = CDSVAE(frame_shape=SHAPE, variant="released", width=0.125, hidden_dim=24).double()
    views = random_views(4, channels_last=True)
    views = type(views)(views.anchor.double(), views.motion.double(), views.order)
    sides = [model.loss(views), ThreePasses(model, torch.contiguous_format).loss(views)]
    for field in fields(LossTerms):
        ours, theirs = (getattr(terms, field.name) for terms in sides)
        assert_close(ours, theirs, msg=field.name)
        if field.name != "mi_between_off_diagonal":  # detached
            one, other = (
                torch.autograd.grad(x, list(model.parameters()), retain_graph=True, materialize_grads=True)
                for x in (ours, theirs)
            )
            assert any(gradient.abs().max() > 0 for gradient in one)
            assert_close(one, other, rtol=1e-6, atol=1e-9)
