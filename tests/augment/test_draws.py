"""Draws are random enough, and a pure function of the record's seed."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]

from seqviews.augment.draws import Purpose, fresh_seeds, mix, permutation, random_bits, record_seeds, uniform

MASK, GAMMA = (1 << 64) - 1, 0x9E3779B97F4A7C15
SEEDS = record_seeds(seed=3, epoch=0, indices=torch.arange(4096))


def splitmix64(state: int) -> int:
    """The generator as published, on Python's integers: the output of the next state."""
    z = (state + GAMMA) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def unsigned(x: torch.Tensor) -> list[int]:
    return [int(v) & MASK for v in x.flatten().tolist()]


def outputs(state: int, n: int) -> list[int]:
    return [splitmix64(state + i * GAMMA) for i in range(n)]


def test_published_first_outputs() -> None:
    assert outputs(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63 - 1, -(2**63), 1234567])
def test_bits_are_splitmix64_of_a_key(seed: int) -> None:
    for purpose in (0, 1, 5):
        key = outputs(seed & MASK, purpose + 1)[-1]
        assert unsigned(random_bits(torch.tensor([seed]), 6, purpose)) == outputs(key, 6)


@pytest.mark.parametrize("seed", [0, 7, -3, 2**64 - 1, 2**70 + 5])
def test_record_seeds_on_plain_integers(seed: int) -> None:
    def finalise(x: int) -> int:
        return splitmix64(x - GAMMA)

    indices = [0, 1, 2**40]
    expected = [finalise(finalise(finalise(seed & MASK) + 2) + i) for i in indices]
    assert unsigned(record_seeds(seed, 2, torch.tensor(indices))) == expected


@pytest.mark.parametrize("kind", [np.int64, np.int8])
def test_record_seeds_on_numbers_of_numpy(kind: Callable[[int], int]) -> None:
    indices = torch.arange(3)
    assert record_seeds(kind(3), kind(1), indices).equal(record_seeds(3, 1, indices))


def test_neighbouring_seeds_are_far_apart() -> None:
    bits = unsigned(mix(torch.arange(2000)) ^ mix(torch.arange(2000) + 1))
    assert 31 < sum(b.bit_count() for b in bits) / len(bits) < 33
    seeds = [record_seeds(s, e, torch.arange(1000)) for s in (0, 1, 2) for e in (0, 1, 2)]
    assert len(set(torch.cat(seeds).tolist())) == 9000


def test_draws_do_not_depend_on_the_batch_or_on_later_draws() -> None:
    indices = torch.tensor([5, 900, 17, 3])
    together = record_seeds(1, 2, indices)
    for i, index in enumerate(indices):
        alone = record_seeds(1, 2, index[None])
        assert torch.equal(alone, together[i : i + 1])
        assert torch.equal(uniform(alone, 7, 0), uniform(together, 7, 0)[i : i + 1])
        assert torch.equal(permutation(alone, 9, 1), permutation(together, 9, 1)[i : i + 1])
    assert torch.equal(uniform(SEEDS, 12, 0)[:, :5], uniform(SEEDS, 5, 0))


def test_uniform_is_uniform() -> None:
    for purpose in Purpose:
        u = uniform(SEEDS, 8, purpose)
        assert u.dtype == torch.float32
        assert 0 <= u.min() < 1e-3 < 1 - 1e-3 < u.max() < 1
        for column in u.unbind(1):
            assert stats.kstest(column.numpy(), "uniform").pvalue > 1e-3


def test_purposes_columns_and_neighbours_are_independent() -> None:
    motion, content = uniform(SEEDS, 2, Purpose.MOTION), uniform(SEEDS, 2, Purpose.CONTENT)
    raw = uniform(torch.arange(4097), 1, Purpose.MOTION)[:, 0]
    pairs = [
        (motion[:, 0], content[:, 0]),
        (motion[:, 0], motion[:, 1]),
        (motion[:-1, 0], motion[1:, 0]),
        (raw[:-1], raw[1:]),
        (motion[:, 0], uniform(record_seeds(3, 1, torch.arange(4096)), 1, Purpose.MOTION)[:, 0]),
    ]
    for a, b in pairs:
        table = torch.histogramdd(torch.stack([a, b], 1), bins=[8, 8], range=[0, 1, 0, 1]).hist
        assert stats.chi2_contingency(table.numpy()).pvalue > 1e-3
        assert stats.spearmanr(a.numpy(), b.numpy()).pvalue > 1e-3


def test_permutations_are_equally_likely() -> None:
    orders = permutation(SEEDS, 4, Purpose.CONTENT)
    assert torch.equal(orders.sort(dim=1).values, torch.arange(4).expand(4096, 4))
    counts = Counter(map(tuple, orders.tolist()))
    assert len(counts) == 24
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_fresh_seeds_follow_their_generator() -> None:
    first, second = (fresh_seeds(5, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, fresh_seeds(5))
