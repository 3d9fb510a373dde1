"""A module with its weights held: gradients reach its input, not the module."""

from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


def fixed(module: nn.Module, *x: Tensor) -> Any:
    """What a module makes of its inputs with its weights, and the running statistics of batch norm, as constants."""
    state = {name: value.detach().clone() for name, value in module.named_buffers()}
    state |= {name: value.detach() for name, value in module.named_parameters()}
    return functional_call(module, state, x)
