"""A method whose loss is not finite from its seventh step on, in a module that is not registered."""

import torch

from seqviews.model.methods.cdsvae import CDSVAE
from seqviews.model.protocol import Loss, Views


class BreakingModel(CDSVAE):
    """C-DSVAE, until it breaks."""

    steps = 0

    def loss(self, views: Views, player: str = "model", generator: torch.Generator | None = None) -> Loss:
        self.steps += 1
        loss = super().loss(views, player, generator)
        return Loss(loss.total * float("inf"), loss.terms) if self.steps > 6 else loss
