import pytest
import torch
from torch.testing import assert_close

from seqviews.model.methods.objective import Ablation, LossTerms, LossWeights, squared_error

TERMS = LossTerms(*(torch.tensor(value) for value in (100.0, 20.0, 3.0, 0.4, 0.05, 0.9, 0.7, 0.006, 7000.0, 9000.0)))
WEIGHTS = LossWeights(alpha=2, beta=10, gamma=5)


def test_total_is_the_negative_of_the_papers_objective() -> None:
    assert_close(TERMS.total(LossWeights()), torch.tensor(100 + 20 + 3 - 0.4 - 0.05 + 0.006))
    expected = torch.tensor(100 + 2 * (20 + 3) - 10 * (0.4 + 0.05) + 5 * 0.006)
    assert_close(TERMS.total(WEIGHTS), expected)


@pytest.mark.parametrize(
    ("ablation", "information", "between"),
    [
        ("no-motion-view", 0.4, 0.006),
        ("no-content-view", 0.05, 0.006),
        ("all-mws", 0.9 + 0.7, 0.006),
        ("dsvae", 0.0, 0.0),
    ],
)
def test_an_ablation_leaves_out_what_it_says(ablation: Ablation, information: float, between: float) -> None:
    expected = torch.tensor(100 + 2 * (20 + 3) - 10 * information + 5 * between)
    assert_close(TERMS.total(WEIGHTS, ablation), expected)


def test_squared_error_is_summed_over_a_sequence_and_averaged_over_the_batch() -> None:
    x, target = torch.rand(2, 3, 4, 2, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    total = 0.0
    for a, b in zip(x.flatten().tolist(), target.flatten().tolist(), strict=True):
        total += (a - b) ** 2
    assert_close(squared_error(x, target).item(), total / 3, rtol=1e-6, atol=0)
