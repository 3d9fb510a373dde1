"""Figures of merit, as pure functions of what a judge says and what was true."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from sklearn.metrics import accuracy_score
from torch import Tensor

MAX_PSNR = 100.0  # where an error is 0, which has none


def accuracy(probabilities: Tensor, labels: Tensor) -> float:
    """The share of clips whose most probable class, of `[N, K]`, is the true one, of int64 `[N]`."""
    return float(accuracy_score(labels.cpu().numpy(), probabilities.argmax(1).cpu().numpy()))


def intra_entropy(probabilities: Tensor) -> float:
    """H(y|x): how unsure the judge is of a clip, averaged over clips; in nats [P D.1].

    Args:
        probabilities: `[N, K]`, p(y|x) of each clip.
    """
    return float(torch.special.entr(probabilities.double()).sum(1).mean())


def inter_entropy(probabilities: Tensor) -> float:
    """H(y): how varied the clips are, the entropy of the mean of p(y|x); in nats, at most log K [P D.1].

    Args:
        probabilities: `[N, K]`, p(y|x) of each clip.
    """
    return float(torch.special.entr(probabilities.double().mean(0)).sum())


def inception_scores(probabilities: Tensor) -> dict[str, float]:
    """IS, H(y|x) and H(y), which agree by definition: IS = exp(H(y) - H(y|x)) [P D.1].

    Args:
        probabilities: `[N, K]`, p(y|x) of each clip.

    Example:
        >>> inception_scores(torch.eye(4))  # sure of every clip, and the four clips are all different
        {'inception_score': 4.0, 'intra_entropy': 0.0, 'inter_entropy': 1.3862943611198906}
    """
    intra, inter = intra_entropy(probabilities), inter_entropy(probabilities)
    score = float(torch.tensor(inter - intra, dtype=torch.float64).exp())
    return {"inception_score": score, "intra_entropy": intra, "inter_entropy": inter}


def trajectory_distance(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean distance between two trajectories, under the best matching of their points in each frame.

    It says where points are, not which is which: two that have met cannot be told apart by their places alone.

    Args:
        predicted: `[B, T, n, 2]`.
        true: `[B, T, n, 2]`, in the same unit.

    Returns:
        `[B]`, the Euclidean distance averaged over frames and points.

    Example:
        >>> two = torch.tensor([[[[0.0, 0.0], [3.0, 4.0]]]])
        >>> trajectory_distance(two.flip(2), two), trajectory_distance(two + 1.0, two)
        (tensor([0.]), tensor([1.4142]))
    """
    orders = torch.tensor(list(itertools.permutations(range(true.shape[2]))), device=true.device)
    candidates = predicted[:, :, orders]  # [B, T, orders, n, 2]
    distances: Tensor = torch.linalg.vector_norm(candidates - true[:, :, None], dim=-1)
    return distances.mean(3).amin(2).mean(1)


def trajectory_error(predicted: Tensor, true: Tensor) -> float:
    """`trajectory_distance` averaged over clips, in the unit of the trajectories (pixels)."""
    return float(trajectory_distance(predicted.double(), true.double()).mean())


def foreground_psnr(decoded: Tensor, real: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each clip over its foreground, in dB, at most `MAX_PSNR`.

    The foreground is every pixel of the real clip that is not black, in any channel: on a black background what moves,
    on any other all of the clip. The squared error is averaged over the foreground of all frames.

    Args:
        decoded: `[B, T, C, H, W]` in [0, 1].
        real: Likewise, the clips that were to be decoded.

    Returns:
        `[B]`; NaN for a clip that is black all over.

    Example:
        >>> real = torch.tensor([0.0, 0.5]).expand(1, 1, 1, 4, 2)  # the left half is background
        >>> foreground_psnr(torch.full_like(real, 0.6), real)  # 0.1 off: a hundredth of the peak, squared
        tensor([20.0000])
    """
    foreground = (real > 0).any(dim=2, keepdim=True)
    error = ((decoded - real).square() * foreground).sum(dim=(1, 2, 3, 4))
    values = foreground.sum(dim=(1, 2, 3, 4)) * real.shape[2]
    return -10 * (error / values).clamp_min(10 ** (-MAX_PSNR / 10)).log10()


def factor_scores(judged: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> dict[str, float]:
    """Every figure of every factor, keyed `factor/figure`.

    Args:
        judged: What the judge said: `[N, K]` probabilities of a factor with classes, or `[N, T, n, 2]` trajectories.
        truth: What the clips should show: int64 `[N]` or `[N, T, n, 2]`; a factor that has no truth, because its latent
            was drawn, gets no accuracy and no error, but its entropies still tell how varied the clips are.

    Returns:
        `accuracy`, `inception_score`, `intra_entropy` and `inter_entropy` of a factor with classes, `error` of a
        trajectory.
    """
    scores: dict[str, float] = {}
    for name, value in judged.items():
        if value.ndim == 2:
            figures = {"accuracy": accuracy(value, truth[name])} if name in truth else {}
            figures |= inception_scores(value)
        else:
            figures = {"error": trajectory_error(value, truth[name])} if name in truth else {}
        scores |= {f"{name}/{figure}": score for figure, score in figures.items()}
    return scores
