"""Several processes as one batch: what is compared with the whole batch is gathered, with gradients.

A stream gives rank r of R every R-th record of a global batch, so row i of a rank is row `i * R + r` of the batch.
Trainers average the gradients of all ranks. Then the gradient of R ranks equals that of one process with their batch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

_alone: ContextVar[bool] = ContextVar("alone", default=False)


def ranks() -> tuple[int, int]:
    """This process's rank and the number of ranks that share a batch: (0, 1) without a process group.

    >>> ranks()
    (0, 1)
    """
    if _alone.get() or not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


@contextmanager
def alone() -> Iterator[None]:
    """Compute as one process, whatever the process group: for batches that every rank has in full."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def gather(x: Tensor) -> Tensor:
    """The rows `[B, ...]` of the global batch, in its order, of each rank's `[B / R, ...]`; carries gradients."""
    return x if ranks()[1] == 1 else _from_all(x).transpose(0, 1).flatten(0, 1)


class _Gather(torch.autograd.Function):
    """Tensors of all ranks `[R, ...]`; the gradient of a rank's tensor is the sum of what all ranks give back to it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        gathered = x.new_empty(ranks()[1], *x.shape)
        dist.all_gather(list(gathered.unbind()), x.contiguous())
        return gathered

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous()
        dist.all_reduce(total)
        return total[ranks()[0]]


def _from_all(x: Tensor) -> Tensor:
    gathered: Tensor = _Gather.apply(x)  # type: ignore[no-untyped-call]  # not typed in torch
    return gathered


def own_rows(x: Tensor) -> Tensor:
    """This rank's rows `[B / R, ...]` of a tensor of the global batch, `[B, ...]`: the inverse of `gather`."""
    rank, count = ranks()
    return x[rank::count]


def randn(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal noise shaped `[B / R, ...]` like a tensor: this rank's rows of the noise of the global batch.

    So it does not depend on the number of ranks, if the generators of all ranks are in the same state.
    """
    shape = (len(like) * ranks()[1], *like.shape[1:])
    return own_rows(torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device))


class _GlobalNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm by the statistics of the global batch, also on a CPU, for which torch has none."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalises each channel `[N, C, ...]`; in evaluation, and of one rank, as torch does."""
        if not self.training or ranks()[1] == 1:
            return super().forward(input)
        over = [axis for axis in range(input.ndim) if axis != 1]
        count = input.numel() // input.shape[1] * ranks()[1]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        x = input if input.dtype == torch.float64 else input.float()
        mean = _from_all(x.sum(over, dtype=torch.float64)).sum(0).div(count)
        centred = x - mean.to(x.dtype).view(shape)
        variance = _from_all(centred.square().sum(over, dtype=torch.float64)).sum(0).div(count)
        with torch.no_grad():
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]  # tracked, see synchronise_batch_norm
            unbiased = variance * (count / (count - 1))
            self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)  # type: ignore[union-attr,arg-type]
            self.running_var.lerp_(unbiased.to(self.running_var), self.momentum)  # type: ignore[union-attr,arg-type]
        normalised = centred * torch.rsqrt(variance + self.eps).to(x.dtype).view(shape)
        if self.affine:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        return normalised.to(input.dtype)


def synchronise_batch_norm(module: nn.Module) -> None:
    """Make every batch norm of a module use the statistics of the global batch, in place; its state keeps its names.

    Raises:
        ValueError: If a norm has no running statistics, which no network here is without.
    """
    for name, norm in list(module.named_modules()):
        if isinstance(norm, nn.modules.batchnorm._BatchNorm) and not isinstance(norm, _GlobalNorm):
            if not norm.track_running_stats or norm.momentum is None:
                raise ValueError(f"{name} cannot span processes: it needs running statistics and a momentum")
            norm.__class__ = _GlobalNorm
