"""Metrics of generated clips, as pure functions of what a judge predicts and what is true."""

import itertools
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from seqviews.model.evaluate.clips.pairs import parts_of, top_two_accuracy

MAX_PSNR = 100.0  # dB, in place of the infinite PSNR of an error of 0


def accuracy(probabilities: Tensor, labels: Tensor) -> float:
    """The fraction of clips whose most probable class, of `[N, K]`, is the true one, int64 `[N]`."""
    return float((probabilities.argmax(1) == labels).double().mean())


def inception_scores(probabilities: Tensor) -> dict[str, float]:
    """IS = exp(H(y) - H(y|x)), H(y|x) and H(y), entropies in nats [P B].

    `intra_entropy` H(y|x) is the uncertainty of the judge about a clip, averaged over clips. `inter_entropy` H(y) is
    the variety of the clips: the entropy of the mean of p(y|x) `[N, K]`, at most log K.

    Example:
        >>> inception_scores(torch.eye(4))  # the judge is certain of each clip, and the four clips differ
        {'inception_score': 4.0, 'intra_entropy': 0.0, 'inter_entropy': 1.3862943611198906}
    """
    p = probabilities.double()
    intra, inter = torch.special.entr(p).sum(1).mean(), torch.special.entr(p.mean(0)).sum()
    scores = {"inception_score": (inter - intra).exp(), "intra_entropy": intra, "inter_entropy": inter}
    return {name: float(score) for name, score in scores.items()}


def trajectory_distance(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean Euclidean distance `[B]` between trajectories `[B, T, n, 2]`, under the best matching of points per frame.

    It compares positions, not identities: two points that have met cannot be distinguished by their positions alone.

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
    """Peak signal-to-noise ratio over the foreground of clips `[B, T, C, H, W]` in [0, 1]: `[B]`, dB, at most 100.

    The foreground is every pixel of the real clip that is not black in some channel: on a black background the moving
    objects, on any other background the whole clip. The squared error is averaged over the foreground of all frames;
    it is NaN for a clip that is entirely black.

    Example:
        >>> real = torch.tensor([0.0, 0.5]).expand(1, 1, 1, 4, 2)  # the left half is background
        >>> foreground_psnr(torch.full_like(real, 0.6), real)  # 0.1 off: a hundredth of the peak, squared
        tensor([20.0000])
    """
    foreground = (real > 0).any(dim=2, keepdim=True)
    error = ((decoded - real).square() * foreground).sum(dim=(1, 2, 3, 4))
    values = foreground.sum(dim=(1, 2, 3, 4)) * real.shape[2]
    return -10 * (error / values).clamp_min(10 ** (-MAX_PSNR / 10)).log10()


def factor_scores(
    judged: Mapping[str, Tensor],
    truth: Mapping[str, Tensor],
    classes: Mapping[str, Sequence[str] | None] = MappingProxyType({}),
) -> dict[str, float]:
    """Every metric of every factor, keyed `factor/metric`.

    Args:
        judged: Predictions of the judge: `[N, K]` probabilities of a factor with classes, or `[N, T, n, 2]`
            trajectories.
        truth: What the clips should show: int64 `[N]` or `[N, T, n, 2]`. A factor without truth, because its latent was
            drawn, gets neither accuracy nor error; its entropies still measure how varied the clips are.
        classes: The names of the classes of each factor, where they are known.

    Returns:
        `accuracy`, `inception_score`, `intra_entropy` and `inter_entropy` of a factor with classes, `error` of a
        trajectory; where classes are pairs, such as 3+5, also `top_two_accuracy`.
    """
    scores: dict[str, float] = {}
    for name, value in judged.items():
        if value.ndim == 2:
            metrics = {"accuracy": accuracy(value, truth[name])} if name in truth else {}
            if name in truth and (pairs := parts_of(classes.get(name))) is not None:
                metrics["top_two_accuracy"] = top_two_accuracy(value, truth[name], pairs)
            metrics |= inception_scores(value)
        else:
            metrics = {"error": trajectory_error(value, truth[name])} if name in truth else {}
        scores |= {f"{name}/{metric}": score for metric, score in metrics.items()}
    return scores
