"""Factors whose classes are pairs of parts, such as 3+5 of two digits: how a judge learns them, and another view."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def parts_of(classes: Sequence[str] | None) -> Tensor | None:
    """The numbers of the two parts of each class, int64 `[K, 2]`; None if the classes are not pairs.

    >>> parts_of(["a+a", "a+b", "b+b"]), parts_of(["a", "b"])
    (tensor([[0, 0],
            [0, 1],
            [1, 1]]), None)
    """
    pairs = [name.split("+") for name in classes or ()]
    if not pairs or any(len(pair) != 2 for pair in pairs):
        return None
    known = sorted({part for pair in pairs for part in pair})
    return torch.tensor([[known.index(part) for part in pair] for pair in pairs])


class PairHead(nn.Module):
    """Logits of pairs from scores of their parts: s(a) + s(b) of a and b, d(a) of twice a.

    Every clip that shows a part teaches what the part looks like, whatever the other one is, so far fewer clips are
    needed than with weights for each pair.

    Args:
        features: Number of features.
        pairs: The parts of each class, int64 `[K, 2]`, as from `parts_of`.

    Example:
        >>> PairHead(8, parts_of(["a+a", "a+b", "b+b"]))(torch.rand(4, 8)).shape
        torch.Size([4, 3])
    """

    pairs: Tensor

    def __init__(self, features: int, pairs: Tensor) -> None:
        super().__init__()
        self.register_buffer("pairs", pairs, persistent=False)
        self.parts = int(pairs.max()) + 1
        self.scores = nn.Linear(features, 2 * self.parts)

    def forward(self, features: Tensor) -> Tensor:
        """Logits `[B, K]` of features `[B, F]`."""
        single, double = self.scores(features).split(self.parts, dim=1)
        first, second = self.pairs.T
        return torch.where(first == second, double[:, first], single[:, first] + single[:, second])


def part_probabilities(probabilities: Tensor, pairs: Tensor) -> Tensor:
    """The probability `[N, P]` that each part is shown, from those of the pairs `[N, K]` and their parts `[K, 2]`.

    >>> part_probabilities(torch.tensor([[0.1, 0.7, 0.2]]), torch.tensor([[0, 0], [0, 1], [1, 1]]))
    tensor([[0.8000, 0.9000]])
    """
    shown = functional.one_hot(pairs).amax(1).to(probabilities)
    return probabilities @ shown


def top_two_accuracy(probabilities: Tensor, labels: Tensor, pairs: Tensor) -> float:
    """The fraction of clips whose two most probable parts are the true pair; a pair of equal parts is never right.

    Published figures rest on such an accuracy, of a judge with an output for each part.

    Args:
        probabilities: Of the pairs, `[N, K]`.
        labels: The true pairs, int64 `[N]`.
        pairs: The parts of each pair, int64 `[K, 2]`.
    """
    found = part_probabilities(probabilities.double(), pairs).topk(2).indices.sort(1).values
    return float((found == pairs[labels].sort(1).values).all(1).double().mean())
