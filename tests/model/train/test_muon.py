"""Muon: against torch's Muon on matrices and torch's Adam on the rest, and continued from a state."""

import copy

import pytest
import torch
from torch import nn

from seqviews.model.protocol import BETAS
from seqviews.model.train.muon import Muon

RATE = 1e-2


def network() -> nn.Sequential:
    """A convolution, a matrix and their biases, the same in every call."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 36, 5)).double()


def gradients(net: nn.Module, step: int) -> None:
    """Those of a loss of random images, which a step decides."""
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
    net.zero_grad()
    torch.autograd.backward(net(x).square().sum())


def moved_by_torch(steps: int) -> list[torch.Tensor]:
    """The parameters after torch's own optimisers, of matrices that are copied to and from the weights."""
    net = network()
    weights = [p for p in net.parameters() if p.ndim > 1]
    matrices = [nn.Parameter(p.detach().flatten(1).clone()) for p in weights]
    muon: torch.optim.Optimizer = torch.optim.Muon(matrices, lr=RATE, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.Adam([p for p in net.parameters() if p.ndim == 1], lr=RATE, betas=BETAS)
    for step in range(steps):
        gradients(net, step)
        for matrix, weight in zip(matrices, weights, strict=True):
            assert weight.grad is not None
            matrix.grad = weight.grad.flatten(1)
        muon.step()
        adam.step()
        for matrix, weight in zip(matrices, weights, strict=True):
            weight.data.copy_(matrix.detach().view(weight.shape))
    return [p.detach() for p in net.parameters()]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_weights_move_as_by_torchs_muon_and_the_rest_as_by_adam(layout: torch.memory_format) -> None:
    net = network()
    net.to(memory_format=layout)  # type: ignore[call-overload]  # not in torch's stub
    optimizer = Muon(net.parameters(), RATE)
    for step in range(5):
        gradients(net, step)
        optimizer.step()
    # Not exactly: with channels last, products in bfloat16 are summed in another order.
    for ours, theirs in zip(net.parameters(), moved_by_torch(5), strict=True):
        torch.testing.assert_close(ours.detach(), theirs, rtol=0, atol=RATE / 100)


def test_the_rate_of_its_group_is_used() -> None:
    net = network()
    before = [p.detach().clone() for p in net.parameters()]
    optimizer = Muon(net.parameters(), RATE)
    optimizer.param_groups[0]["lr"] = 0.0
    gradients(net, 0)
    optimizer.step()
    assert all(torch.equal(p, old) for p, old in zip(net.parameters(), before, strict=True))


def test_continued_from_a_state_it_moves_as_if_it_had_not_stopped() -> None:
    net = network()
    optimizer = Muon(net.parameters(), RATE)
    for step in range(3):
        gradients(net, step)
        optimizer.step()
    stopped = copy.deepcopy(net)
    resumed = Muon(stopped.parameters(), RATE)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for moved, by in ((net, optimizer), (stopped, resumed)):
        gradients(moved, 3)
        by.step()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), stopped.parameters(), strict=True))
