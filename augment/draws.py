"""Random numbers as a pure function of a record's seed, so that its views do not depend on the batch."""

from enum import IntEnum

import torch
from torch import Generator, Tensor

GOLDEN_GAMMA = 0x9E3779B97F4A7C15


class Purpose(IntEnum):
    """The independent random sequences of one seed: draws for one purpose are independent of those for another."""

    MOTION = 0
    CONTENT = 1
    ANCHOR = 3  # the numbers decide the draws: they stay as they are


def record_seeds(seed: int, epoch: int, indices: Tensor) -> Tensor:
    """One seed per record, from the run's seed, the epoch and the record's index: no two in an epoch are the same.

    Args:
        seed: The run's seed, any integer; taken modulo 2^64.
        epoch: The epoch, counted from 0.
        indices: int64 `[B]`, as in `Batch.indices`. The result is shaped like it, on its device.

    >>> record_seeds(seed=0, epoch=1, indices=torch.tensor([7, 8]))
    tensor([-579786934348230207, 9203586708059574728])
    """
    run = mix(torch.tensor(_signed(seed), device=indices.device))
    return mix(mix(run + epoch) + indices)


def fresh_seeds(n: int, generator: Generator | None = None) -> Tensor:
    """Seeds int64 `[n]` on the CPU from a generator, torch's default if None: for use without records."""
    return torch.empty(n, dtype=torch.int64).random_(generator=generator)


def random_bits(seeds: Tensor, n: int, purpose: int) -> Tensor:
    """The first n draws of 64 bits for a `Purpose`: int64 `[B, n]`, uniform over all of int64, from seeds `[B]`."""
    keys = mix(seeds + _signed(GOLDEN_GAMMA * (purpose + 1)))
    counters = torch.arange(1, n + 1, device=seeds.device) * _signed(GOLDEN_GAMMA)
    return mix(keys[:, None] + counters)


def uniform(seeds: Tensor, n: int, purpose: int) -> Tensor:
    """The first n draws for a purpose as float32 `[B, n]` in [0, 1), multiples of 2^-24.

    >>> uniform(torch.tensor([5]), n=2, purpose=Purpose.MOTION).shape
    torch.Size([1, 2])
    """
    return (random_bits(seeds, n, purpose) >> 40 & 0xFFFFFF).to(torch.float32) * 2.0**-24


def permutation(seeds: Tensor, n: int, purpose: int) -> Tensor:
    """A random order of n items per record: int64 `[B, n]`, every order equally likely."""
    return random_bits(seeds, n, purpose).argsort(dim=1)


def mix(x: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection of int64 that scatters neighbours."""
    x = (x ^ _shift(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    # torch's >> repeats the sign; the mixer shifts in zeros
    return x >> bits & (1 << 64 - bits) - 1


def _signed(value: int) -> int:
    """The int64 with the same low 64 bits."""
    return (int(value) + (1 << 63)) % (1 << 64) - (1 << 63)
