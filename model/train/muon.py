"""Muon for weights that are matrices or convolutions, Adam for all other parameters, as one optimiser."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from seqviews.model.protocol import BETAS


class Muon(torch.optim.Optimizer):
    """Momentum whose updates are made orthogonal, for weights; Adam for biases and the like (Jordan et al., 2024).

    `torch.optim.Muon` takes matrices only; here a convolution is the matrix of its first dimension by all others.
    Updates have the scale of Adam's, so that learning rates chosen for Adam are a good start (Liu et al., 2025).

    Args:
        parameters: Those to move; they may change their values in place, but not their storage.
        learning_rate: Of both.

    Example:
        >>> layer = torch.nn.Conv2d(3, 8, 3)
        >>> optimizer = Muon(layer.parameters(), learning_rate=1e-3)
        >>> torch.autograd.backward(layer(torch.rand(2, 3, 4, 4)).square().mean())
        >>> optimizer.step()
    """

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        every = list(parameters)
        weights, others = [p for p in every if p.ndim >= 2], [p for p in every if p.ndim < 2]
        self._weights = [(p, nn.Parameter(_matrix(p.detach(), like=p))) for p in weights]
        matrices = [matrix for _, matrix in self._weights]
        options: dict[str, Any] = {"weight_decay": 0.0, "adjust_lr_fn": "match_rms_adamw"}
        self._parts: dict[str, torch.optim.Optimizer] = {}
        if matrices:
            self._parts["muon"] = torch.optim.Muon(matrices, lr=learning_rate, **options)
        if others:
            self._parts["adam"] = torch.optim.Adam(others, lr=learning_rate, betas=BETAS, fused=True)
        super().__init__(every, {"lr": learning_rate})  # its rate is the one that is scheduled

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        loss = None if closure is None else closure()
        for parameter, matrix in self._weights:
            matrix.grad = None if parameter.grad is None else _matrix(parameter.grad, like=parameter)
        for part in self._parts.values():
            for group in part.param_groups:
                group["lr"] = self.param_groups[0]["lr"]
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The state of both, and the group whose rate is scheduled."""
        return {**super().state_dict(), "parts": {name: part.state_dict() for name, part in self._parts.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state, on the device of the parameters."""
        super().load_state_dict({name: state_dict[name] for name in ("state", "param_groups")})
        for name, part in self._parts.items():
            part.load_state_dict(state_dict["parts"][name])


def _matrix(weight: Tensor, like: Tensor) -> Tensor:
    """A weight, or its gradient, as a matrix; a view if it is stored like `like`.

    The order of the columns is that in memory, as channels may be stored last; Muon is indifferent to it.
    """
    last = like.ndim == 4 and not like.is_contiguous()
    return (weight.movedim(1, 3) if last else weight).flatten(1)
