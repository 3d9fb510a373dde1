"""Identity: whether clips show the people that they should, where nobody of a split is in the training split."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from seqviews.model.evaluate.clips.judge import Judge
from seqviews.model.evaluate.verification import equal_error_rate
from seqviews.pipeline.manifest import DatasetInfo

TINY = 1e-12


def unseen_factors(judge: Judge, info: DatasetInfo, factors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The static factors none of whose classes in a split the judge was trained on: what it was, bool `[K]` each.

    A factor that says nothing about pairs of clips, one class for all of them or one for each, is left out.

    Args:
        judge: A trained judge.
        info: Names the static factors.
        factors: Those of the clips of the split, int64 `[N]`.
    """
    seen = {name: judge.seen(name).cpu() for name, classes in info.static.items() if classes is not None}
    unseen = {name: mask for name, mask in seen.items() if not mask[factors[name]].any()}
    return {name: mask for name, mask in unseen.items() if 1 < len(set(factors[name].tolist())) < len(factors[name])}


def identity_error(made: Tensor, real: Tensor, identities: Tensor, origins: Tensor, seen: Tensor) -> float:
    """The equal error rate of telling from two clips, one made and one real, whether they show the same person.

    A clip is described by the scores that the judge gives to the people that it was trained on, log-probabilities
    minus their mean; two clips are compared by cosine. A clip is not compared with the one that it was made from.

    Args:
        made: The judge's probabilities of clips, `[N, K]`.
        real: Likewise of real clips, `[M, K]`.
        identities: The person of each real clip, int64 `[M]`.
        origins: The real clip whose person each clip should show, int64 `[N]`.
        seen: The classes that the judge was trained on, bool `[K]`.

    Raises:
        ValueError: If every real clip, or no two of them, show the same person.

    Example:
        >>> faces = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8]])
        >>> identity_error(faces, faces, torch.tensor([7, 7, 8, 8]), torch.arange(4), torch.tensor([True, True]))
        0.0
    """
    return _error_rate(_descriptions(made, seen) @ _descriptions(real, seen).T, identities, origins)


def colour_error(colours: Tensor, identities: Tensor) -> float:
    """As `identity_error`, of two real clips by the Euclidean distance of their mean colours: what needs no face.

    Where it is low, people differ by clothes, background or light, and an `identity_error` may be of those.

    Args:
        colours: The mean colour of each clip, `[M, C]`.
        identities: The person of each, int64 `[M]`.

    Raises:
        ValueError: As `identity_error`.
    """
    distances = (colours[:, None] - colours).norm(dim=2)
    return _error_rate(-distances, identities, torch.arange(len(colours)))


def _error_rate(scores: Tensor, identities: Tensor, origins: Tensor) -> float:
    """Of scores `[N, M]` of clips of these origins with real clips, themselves left out."""
    compared = origins[:, None] != torch.arange(scores.shape[1])
    same = (identities[origins][:, None] == identities)[compared]
    if not 0 < int(same.sum()) < len(same):
        raise ValueError("an equal error rate of identity requires two people, one of them in two clips")
    return equal_error_rate(scores[compared].numpy(), same.numpy())


def _descriptions(probabilities: Tensor, seen: Tensor) -> Tensor:
    scores = probabilities[:, seen].clamp_min(TINY).log()
    return torch.nn.functional.normalize(scores - scores.mean(1, keepdim=True), dim=1)
