"""A model whose loss is not finite from its seventh step on, in a module that a preset can name."""

from __future__ import annotations

from dataclasses import replace

import torch

from seqviews.model.cdsvae import CDSVAE
from seqviews.model.objective import LossTerms
from seqviews.model.plugins import Views


class BreakingModel(CDSVAE):
    """C-DSVAE, until it breaks."""

    steps = 0

    def loss(self, views: Views, generator: torch.Generator | None = None) -> LossTerms:
        self.steps += 1
        terms = super().loss(views, generator)
        return replace(terms, reconstruction=terms.reconstruction * float("inf")) if self.steps > 6 else terms
