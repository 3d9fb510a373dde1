"""The orders of docs/order.md, implemented literally and materialised, to compare the lazy orders with."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import count, zip_longest

import numpy as np


def naive_permutation(size: int, *names: int) -> list[int]:
    raw = np.random.PCG64(np.random.SeedSequence([len(names), *names])).random_raw(size)
    return sorted(range(size), key=lambda i: raw[i])


def naive_order(counts: list[int], seed: int, epoch: int, lanes: int, window: int) -> list[tuple[int, int]]:
    """An epoch of one data set, as (shard, record): permute, deal, mix windows, take turns."""
    shards = naive_permutation(len(counts), seed, epoch)
    dealt: list[list[int]] = [[] for _ in range(lanes)]
    for i, shard in enumerate(shards):
        dealt[i % lanes].append(shard)
    mixed: list[list[tuple[int, int]]] = []
    for lane, own in enumerate(dealt):
        sequence = []
        for number, start in enumerate(range(0, len(own), window)):
            records = [(shard, r) for shard in own[start : start + window] for r in range(counts[shard])]
            sequence += [records[i] for i in naive_permutation(len(records), seed, epoch, lane, number)]
        mixed.append(sequence)
    return [record for turn in zip_longest(*mixed) for record in turn if record is not None]


def naive_mixture(
    counts: list[list[int]], weights: list[Fraction], seed: int, lanes: int, window: int, block: int = 1024
) -> Iterator[list[tuple[int, int, int, int]]]:
    """Epoch after epoch of several data sets, as (set, epoch of the set, shard, record).

    Each set's records are drawn from one endless sequence, block by block, and the block is permuted.
    """

    def line(number: int) -> Iterator[tuple[int, int, int, int]]:
        for epoch in count():
            own = naive_order(counts[number], seed + number, epoch, min(lanes, len(counts[number])), window)
            yield from ((number, epoch, *record) for record in own)

    def due(positions: int) -> list[int]:
        counted: list[int] = []
        for number, weight in enumerate(weights):
            counted.append(int((positions - sum(counted)) * (weight / sum(weights[number:]))))
        return counted

    lines = [line(number) for number in range(len(counts))]
    length = next(p for p in count() if due(p)[0] == sum(counts[0]))
    for epoch in count():
        taken: list[tuple[int, int, int, int]] = []
        for number, start in enumerate(range(0, length, block)):
            stop = min(start + block, length)
            numbers = [d for d in range(len(lines)) for _ in range(due(stop)[d] - due(start)[d])]
            order = naive_permutation(len(numbers), seed, epoch, number)
            taken += [next(lines[numbers[i]]) for i in order]
        yield taken
