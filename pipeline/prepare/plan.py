"""The plan of a preparation: what shard k of a split holds, a pure function of the sources, the parameters and k."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seqviews.pipeline.manifest import SPLITS, Split


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """Everything that decides the bytes of one shard: the name of each source, and the seed of its random generator."""

    split: Split
    name: str
    sources: tuple[tuple[str, tuple[int, int, int]], ...]


def plan_shards(split: Split, sources: Sequence[str], seed: int, shard_sources: int) -> list[ShardPlan]:
    """Permute the sources of a split by `seed` and cut them into shards of `shard_sources` whole sources.

    Example:
        >>> [[name for name, _ in plan.sources] for plan in plan_shards("train", ["a", "b", "c"], 0, 2)]
        [['c', 'a'], ['b']]
    """
    number = SPLITS.index(split)
    # NumPy treats the seeds (a, b) and (a, b, 0) as equal: the order uses 0, source i uses i + 1
    order = np.random.default_rng([seed, number, 0]).permutation(len(sources)).tolist()
    seeded = [(sources[i], (seed, number, i + 1)) for i in order]
    shards = [tuple(seeded[start : start + shard_sources]) for start in range(0, len(seeded), shard_sources)]
    return [ShardPlan(split, f"{split}-{k:06d}.tar", shard) for k, shard in enumerate(shards)]
