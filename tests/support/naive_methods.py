"""Small methods in float64, batches for them, and what the gradient of a term reaches."""

import inspect
from typing import Any, TypeVar

import torch
from torch import Tensor

from seqviews.augment.views import Views
from seqviews.model.protocol import Method

SIZES: dict[str, Any] = {"width": 0.125, "static_dim": 6, "dynamic_dim": 3, "feature_dim": 8, "hidden_dim": 12}
M = TypeVar("M", bound=Method)


def small(method: type[M], frame_shape: tuple[int, ...], **arguments: Any) -> M:
    """A method whose latents differ between sequences, so that no term is near zero."""
    torch.manual_seed(0)
    sizes = {name: size for name, size in SIZES.items() if name in inspect.signature(method).parameters}
    model = method(frame_shape=frame_shape, **{**sizes, **arguments})
    for name, parameter in model.named_parameters():
        if name.startswith(("static_posterior", "dynamic_posterior")):
            parameter.data.mul_(2)
    return model.double()


def batch_of(frame_shape: tuple[int, ...], batch: int = 5, length: int = 4, seed: int = 0) -> Views:
    """Clips in [0, 1] or segments of mean 0, with a content view."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand if len(frame_shape) == 3 else torch.randn
    anchor = draw(batch, length, *frame_shape, generator=generator, dtype=torch.float64)
    return Views(anchor, None, torch.rand(batch, length, generator=generator).argsort(1))


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def reached(model: Method, value: Tensor) -> set[str]:
    """The parts of a method, by the first name of their parameters, that a gradient of a value is not 0 for."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
    return {name.partition(".")[0] for name, gradient in zip(names, found, strict=True) if gradient.abs().max() > 0}
