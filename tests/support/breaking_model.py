"""A model whose loss is not finite from its seventh step on, in a module that a preset can name."""

from __future__ import annotations

from dataclasses import replace

import torch

from seqviews.model.methods.cdsvae import CDSVAE
from seqviews.model.methods.objective import LossTerms
from seqviews.model.protocol import Views


class BreakingModel(CDSVAE):
    """C-DSVAE, until it breaks."""

    steps = 0

    def loss(self, views: Views, generator: torch.Generator | None = None) -> LossTerms:
        self.steps += 1
        terms = super().loss(views, generator)
        return replace(terms, reconstruction=terms.reconstruction * float("inf")) if self.steps > 6 else terms
