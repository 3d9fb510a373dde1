"""The plan of a preparation: what shard k of a split holds, a pure function of the sources, the parameters and k."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np

from seqviews.pipeline.manifest import MAX_MANIFEST_BYTES, SPLITS, DatasetInfo, Manifest, Split
from seqviews.pipeline.shard_table import ShardEntry, ShardTable
from seqviews.pipeline.shards.codec import encoder_versions
from seqviews.pipeline.shards.strict_json import parse_object, plain
from seqviews.pipeline.storage.folder import Folder

PLAN = "plan.json"
MAX_LISTED_SHARDS = 20_000  # in a manifest


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
    return [ShardPlan(split, shard_name(split, k), shard) for k, shard in enumerate(shards)]


def shard_name(split: Split, k: int) -> str:
    """Return the file name of shard k of a split."""
    return f"{split}-{k:06d}.tar"


@dataclass(frozen=True)
class DatasetPlan:
    """The contents of `plan.json`: all that identifies a preparation, and all that its manifests hold but the shards.

    Attributes:
        dataset: The description of the data set.
        parameters: Everything else that decides the records, with `seed` and `shard_sources`.
        encoders: Versions of the encoders.
        sources: SHA-256 of the names of each split's sources.
        counts: Number of sources of each split.
    """

    dataset: DatasetInfo
    parameters: Mapping[str, Any]
    encoders: Mapping[str, str]
    sources: Mapping[Split, str]
    counts: Mapping[Split, int]

    @classmethod
    def of(
        cls, sources: Mapping[Split, Sequence[str]], info: DatasetInfo, parameters: Mapping[str, Any]
    ) -> DatasetPlan:
        """Return the plan for sources by split; `parameters` include `seed` and `shard_sources`."""
        hashes = {split: sha256("\n".join(names).encode()).hexdigest() for split, names in sources.items()}
        counts = {split: len(names) for split, names in sources.items()}
        return cls(info, parameters, encoder_versions(info.features.codec), hashes, counts)

    @cached_property
    def text(self) -> str:
        """The text of `plan.json`."""
        return json.dumps({**asdict(self), "dataset": self.dataset.as_json()}, indent=1, default=plain) + "\n"

    @property
    def digest(self) -> str:
        """Identifies the plan: 16 digits of the SHA-256 of its text."""
        return sha256(self.text.encode()).hexdigest()[:16]

    @classmethod
    def from_json(cls, text: str) -> DatasetPlan:
        """Parse the text of a `plan.json`. Raises `ValueError` if it is something else."""
        try:
            raw = parse_object(text)
            plan = cls(**{**raw, "dataset": DatasetInfo.from_json(raw["dataset"])})
            if plan.text != text or not all(list(plan.shards(split)) for split in plan.counts):
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError("is damaged, or of another version") from None
        return plan

    @property
    def units(self) -> int:
        """The number of what may fail: of samples, if they are the parameter `tar_samples`, otherwise of sources."""
        samples = self.parameters.get("tar_samples")
        return samples if isinstance(samples, int) else sum(self.counts.values())

    def shards(self, split: Split) -> Iterator[str]:
        """Yield the file names of a split's shards."""
        for k in range(-(-self.counts[split] // self.parameters["shard_sources"])):
            yield shard_name(split, k)

    def manifest(self, split: Split, shards: Sequence[ShardEntry], left_out: int) -> Manifest:
        """Return the manifest of a split with these shards, of which a number of sources is left out."""
        parameters = {**self.parameters, "failed_sources": left_out} if left_out else self.parameters
        listed = len(shards) <= MAX_LISTED_SHARDS
        return Manifest(
            split, self.dataset, parameters, self.encoders, tuple(shards) if listed else ShardTable.of(split, shards)
        )


def planned_unread(out: Folder) -> Any:
    """Return the parameter `unread` of the plan in a folder: what the first survey could not read; None without it.

    Later surveys leave it out even if it has been mended: what is derived from all files, such as the mean of each mel,
    would change otherwise, and with it the plan.
    """
    text = out.get(PLAN, MAX_MANIFEST_BYTES)
    try:
        return None if text is None else parse_object(text.decode())["parameters"]["unread"]
    except (ValueError, KeyError, TypeError):
        return None  # nothing was unread, or another preparation, which is reported later
