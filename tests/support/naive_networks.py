"""An LSTM by the textbook's equations, and the paper's estimates of information by loops over its formulas."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from seqviews.model.discrepancy import SCALES
from seqviews.model.gaussian import Gaussian


def lstm_step(
    x: Tensor, hidden: Tensor, cell: Tensor, weights: Mapping[str, Tensor], name: str, end: str = ""
) -> tuple[Tensor, Tensor]:
    """The hidden state and the cell after an input `[B, F]`."""
    gates = x @ weights[f"{name}.weight_ih{end}"].T + weights[f"{name}.bias_ih{end}"]
    gates = gates + hidden @ weights[f"{name}.weight_hh{end}"].T + weights[f"{name}.bias_hh{end}"]
    enter, forget, change, leave = gates.chunk(4, dim=1)
    cell = forget.sigmoid() * cell + enter.sigmoid() * change.tanh()
    return leave.sigmoid() * cell.tanh(), cell


def lstm(x: Tensor, weights: Mapping[str, Tensor], name: str, *, reverse: bool = False) -> Tensor:
    """The hidden state at each step of `[B, T, F]`, from zeros."""
    hidden = cell = x.new_zeros(len(x), weights[f"{name}.weight_hh_l0"].shape[1])
    outputs = []
    for step in (x.flip(1) if reverse else x).unbind(1):
        hidden, cell = lstm_step(step, hidden, cell, weights, name, "_l0_reverse" if reverse else "_l0")
        outputs.append(hidden)
    return torch.stack(outputs[::-1] if reverse else outputs, dim=1)


def contrast(anchors: Tensor, views: Tensor, temperature: float = 0.5, groups: Sequence[int] | None = None) -> float:
    """[P eq. 7] for each anchor, averaged over them, and both ways; all views of a group match an anchor of it."""
    names = list(range(len(anchors))) if groups is None else list(groups)

    def phi(a: Tensor, b: Tensor) -> float:
        return math.exp(float(a @ b) / math.sqrt(float(a @ a) * float(b @ b)) / temperature)

    def one_way(anchors: Tensor, views: Tensor) -> float:
        total = 0.0
        for anchor, name in zip(anchors, names, strict=True):
            every = sum(phi(anchor, other) for other in views)
            matching = [view for view, of in zip(views, names, strict=True) if of == name]
            total += sum(math.log(phi(anchor, view) / every) for view in matching) / len(matching)
        return total / len(anchors) + math.log(len(views))

    return (one_way(anchors, views) + one_way(views, anchors)) / 2


def densities(samples: Tensor, posterior: Gaussian) -> list[list[float]]:
    """The log density of each sample under each posterior."""

    def density(value: Tensor, mean: Tensor, logvar: Tensor) -> float:
        numbers = (x.flatten().tolist() for x in (value, mean, logvar.exp()))
        parts = [-((x - m) ** 2) / (2 * v) - math.log(2 * math.pi * v) / 2 for x, m, v in zip(*numbers, strict=True)]
        return float(sum(parts))

    return [[density(x, m, v) for m, v in zip(posterior.mean, posterior.logvar, strict=True)] for x in samples]


def entropy(densities: list[list[float]]) -> float:
    """[P eq. 13] with log M: entry (i, j) is the log density of sample i under the posterior of sequence j."""
    m = len(densities)
    return -sum(math.log(sum(math.exp(d) for d in row)) - math.log(m) for row in densities) / m


def shared_information(of_s: list[list[float]], of_z: list[list[float]]) -> float:
    """I(s; z) of log densities: H(s) + H(z) - H(s, z)."""
    both = [[a + b for a, b in zip(*rows, strict=True)] for rows in zip(of_s, of_z, strict=True)]
    return entropy(of_s) + entropy(of_z) - entropy(both)


def autoencoding(model: Any, x: Tensor, s: Tensor, z: Tensor) -> dict[str, float]:
    """The terms of the evidence lower bound that samples of the posterior of a batch give, by their formulas."""
    posterior, decoded, batch = model.encode(x), model.decode(s, z), len(x)
    terms = {"reconstruction": 0.0, "kl_dynamic": 0.0}
    for i in range(batch):
        for t in range(z.shape[1]):
            terms["reconstruction"] += float((decoded[i, t] - x[i, t]).pow(2).sum()) / batch
            prefix = torch.cat([z[i : i + 1, :t], torch.zeros_like(z[:1, :1])], dim=1)  # the last step is not read
            prior = model.p_dynamic(prefix)
            p = independent(Gaussian(prior.mean[0, t], prior.logvar[0, t]))
            q = independent(Gaussian(posterior.dynamic.mean[i, t], posterior.dynamic.logvar[i, t]))
            terms["kl_dynamic"] += float(kl_divergence(q, p)) / batch
    unit = Gaussian(torch.zeros_like(s), torch.zeros_like(s))
    of_s = kl_divergence(independent(posterior.static), independent(unit))
    return {**terms, "kl_static": float(of_s.mean())}


def independent(q: Gaussian) -> Independent[Normal]:
    """The same distribution, as torch has it."""
    return Independent(Normal(q.mean, q.logvar.exp().sqrt()), 1)


def discrepancy(u: Tensor, v: Tensor) -> float:
    """The unbiased maximum mean discrepancy of `[M, D]` each, with the kernel of `model.discrepancy`."""

    def k(a: Tensor, b: Tensor) -> float:
        square = sum((x - y) ** 2 for x, y in zip(a.tolist(), b.tolist(), strict=True))
        return float(sum((c := 2 * len(a) * scale) / (c + square) for scale in SCALES) / len(SCALES))

    m = len(u)
    apart = [(i, j) for i in range(m) for j in range(m) if i != j]
    within = sum(k(u[i], u[j]) + k(v[i], v[j]) for i, j in apart) / len(apart)
    return float(within) - 2 * sum(k(u[i], v[j]) for i in range(m) for j in range(m)) / m**2
