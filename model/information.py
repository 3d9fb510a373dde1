"""Estimates of mutual information from one batch: InfoNCE and minibatch weighted sampling, in nats."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from seqviews.model.gaussian import LOG_TWO_PI, Gaussian
from seqviews.model.padding import frame_mask


def info_nce_from_scores(scores: Tensor, same: Tensor | None = None) -> Tensor:
    """Contrastive estimate of mutual information from the critic's scores [P eq. 7, 8].

    The mean of `log exp(scores[i, i]) / sum_j exp(scores[i, j]) + log B` over the rows and over the columns, both
    directions averaged. With the optimal critic, the log density ratio, it is a lower bound in expectation.

    Args:
        scores: `[B, B]`, log of the critic: row i and column i match, the other B - 1 columns are row i's negatives.
        same: bool `[B, B]`, symmetric with a true diagonal: all the columns that row i matches, whose log-probabilities
            are averaged. Then it is no longer an estimate of mutual information, but a supervised contrastive loss
            (Khosla et al., NeurIPS 2020), in the same unit.

    Returns:
        A scalar, at most log B.
    """
    if same is None:
        matching = scores.diagonal()
    else:
        matched = scores * same
        matching = 0.5 * (matched.sum(0) + matched.sum(1)) / same.sum(1)
    others = 0.5 * (scores.logsumexp(0) + scores.logsumexp(1))
    return (matching - others).mean() + math.log(len(scores))


def info_nce(anchor: Tensor, positive: Tensor, temperature: float = 0.5, same: Tensor | None = None) -> Tensor:
    """`info_nce_from_scores` of I(latent; sequence) with the critic exp(cosine / temperature): a scalar.

    Args:
        anchor: `[B, D]`, latents of one view.
        positive: `[B, D]`, latents of the other view; row i matches row i, the other rows are its negatives.
        temperature: What the cosine is divided by.
        same: As of `info_nce_from_scores`.
    """
    cosine = functional.normalize(anchor, dim=1) @ functional.normalize(positive, dim=1).T
    return info_nce_from_scores(cosine / temperature, same)


def pairwise_log_prob(samples: Tensor, posterior: Gaussian, counts: Tensor | None = None) -> Tensor:
    """`[M, M]`: entry (i, j) is the log density of sample i, `[M, D]`, under posterior j, `[M, D]`.

    The square is expanded into matrix products, five times as fast for segments of speech, and in float64: with narrow
    posteriors its large terms cancel, and in float32 the diagonal would be off by a nat or more.

    Args:
        samples: `[M, D]`.
        posterior: `[M, D]`.
        counts: bool `[M, D]`, which coordinates of sample i the density is of; all if None.
    """
    x, mean, logvar = samples.double(), posterior.mean.double(), posterior.logvar.double()
    precision = torch.exp(-logvar)
    if counts is not None:
        x, ones = x * counts, counts.double()
        square = x.square() @ precision.T - 2 * x @ (mean * precision).T
        constant = ones @ (mean.square() * precision + logvar + LOG_TWO_PI).T
        return (-0.5 * (square + constant)).to(samples.dtype)
    square = x.square() @ precision.T - 2 * x @ (mean * precision).T + (mean.square() * precision).sum(1)
    return (-0.5 * (square + (logvar + LOG_TWO_PI).sum(1))).to(samples.dtype)


class MwsInformation(NamedTuple):
    """Estimates by minibatch weighted sampling, scalars: I(s; x), I(z; x) and I(s; z) in nats.

    `static_off_diagonal` and `dynamic_off_diagonal`, detached, tell how far the densities of s and of z are from
    saturation: the weight of other sequences' posteriors in q(s_i), and in q(z_i), averaged over i, between 0
    (saturated: the estimate is log M) and 1 - 1 / M.
    """

    static: Tensor
    dynamic: Tensor
    between: Tensor
    static_off_diagonal: Tensor
    dynamic_off_diagonal: Tensor


def mws_information(
    s: Tensor, static: Gaussian, z: Tensor, dynamic: Gaussian, lengths: Tensor | None = None
) -> MwsInformation:
    """Mutual information by minibatch weighted sampling [P eq. 13], with log M in place of log(N M).

    H(s) is estimated as `-mean_i (log sum_j q(s_i given x_j) - log M)`, H(z) and H(s, z) likewise. I(s; z) is
    H(s) + H(z) - H(s, z); I(s; x) is H(s) + mean_i log q(s_i given x_i), and I(z; x) likewise. With the paper's
    log(N M), N the size of the data set, independent latents would give log N; with log M they give 0. In high
    dimension each sample is likely under its own posterior only: then the estimate of I(s; x) sticks at log M with
    almost no gradient, whatever the truth is, and so does that of I(z; x). It takes one of them to spoil I(s; z):
    where s is saturated, this is the estimate of I(z; x), and where z is, that of I(s; x).

    Args:
        s: `[M, S]`, a sample of each sequence's static posterior.
        static: The static posteriors, `[M, S]`.
        z: `[M, T, D]`, a sample of each sequence's trajectory.
        dynamic: The dynamic posteriors, `[M, T, D]`; a trajectory's density is the product over time.
        lengths: int64 `[M]`, of padded sequences: trajectory i has its density over its own `lengths[i]` steps, where
            a shorter posterior is padded with N(0, I).
    """
    log_s = pairwise_log_prob(s, static)
    counts = None if lengths is None else frame_mask(lengths, z.shape[1])[..., None].expand_as(z).flatten(1)
    log_z = pairwise_log_prob(z.flatten(1), dynamic.flatten(), counts)
    marginal_s, marginal_z, joint = log_s.logsumexp(1), log_z.logsumexp(1), (log_s + log_z).logsumexp(1)
    log_m = math.log(len(s))
    return MwsInformation(
        static=(log_s.diagonal() - marginal_s).mean() + log_m,
        dynamic=(log_z.diagonal() - marginal_z).mean() + log_m,
        between=(joint - marginal_s - marginal_z).mean() + log_m,
        static_off_diagonal=_off_diagonal_weight(log_s),
        dynamic_off_diagonal=_off_diagonal_weight(log_z),
    )


def _off_diagonal_weight(log_density: Tensor) -> Tensor:
    return 1 - log_density.detach().softmax(dim=1).diagonal().mean()
