import torch
from torch.testing import assert_close

from seqviews.model.objective import LossTerms, LossWeights, squared_error


def test_total_is_the_negative_of_the_papers_objective() -> None:
    terms = LossTerms(*(torch.tensor(value) for value in (100.0, 20.0, 3.0, 0.4, 0.05, 0.006, 7000.0)))
    assert_close(terms.total(LossWeights()), torch.tensor(100 + 20 + 3 - 0.4 - 0.05 + 0.006))
    expected = torch.tensor(100 + 2 * (20 + 3) - 10 * (0.4 + 0.05) + 5 * 0.006)
    assert_close(terms.total(LossWeights(alpha=2, beta=10, gamma=5)), expected)


def test_squared_error_is_summed_over_a_sequence_and_averaged_over_the_batch() -> None:
    x, target = torch.rand(2, 3, 4, 2, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    total = 0.0
    for a, b in zip(x.flatten().tolist(), target.flatten().tolist(), strict=True):
        total += (a - b) ** 2
    assert_close(squared_error(x, target).item(), total / 3, rtol=1e-6, atol=0)
