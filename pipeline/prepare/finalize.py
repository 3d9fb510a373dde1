"""Finalize: verify the shards that parts have written, and write the manifests."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from seqviews.pipeline.manifest import MAX_MANIFEST_BYTES, Manifest, Split
from seqviews.pipeline.prepare.failures import Failure, check_failures, failure_limit
from seqviews.pipeline.prepare.plan import PLAN, DatasetPlan
from seqviews.pipeline.prepare.target import StoredShard, Target
from seqviews.pipeline.records import Progress, silent
from seqviews.pipeline.storage.folder import Folder
from seqviews.pipeline.storage.urls import open_folder

THREADS = 8


def finalize(
    url: Folder | Path | str,
    *,
    max_failures: int | str = 0,
    failed: Callable[[Failure], None] = lambda failure: None,
    progress: Progress = silent,
) -> dict[Split, Manifest]:
    """Verify that all shards of a data set are finished, write its manifests and return them.

    On disk every shard is hashed, in object storage its metadata is read. A repeated call changes nothing. Each split
    with sources that could not be read gets the list of them, `failures.json`, also if an error is raised.

    Args:
        url: The folder that was prepared, in parts or not.
        max_failures: The number of sources that may be left out, or a percentage of all, as `"0.1%"`.
        failed: Called with each source that is left out.
        progress: Called after every shard with the split, the number of shards verified and their total.

    Raises:
        ValueError: If shards are missing or damaged: the message names them and the parts that have to run again. Or if
            more sources are left out than `max_failures`.
        OSError: If the folder cannot be read or written to; a `FileExistsError` if a shard is of another preparation.
    """
    out = open_folder(url).for_writing()
    text = out.get(PLAN, MAX_MANIFEST_BYTES)
    if text is None:
        raise ValueError(f"{out} has no {PLAN}: no preparation was started there")
    try:
        plan = DatasetPlan.from_json(text.decode("utf-8", "replace"))
    except ValueError as error:
        raise ValueError(f"{out}/{PLAN} {error}") from None
    target = Target(out, plan)
    stored = {split: _verify(target, split, progress) for split in plan.counts}
    failures = [f for shards in stored.values() for shard in shards if shard is not None for f in shard.failures]
    for split in plan.counts:
        target.list_failures(split, [failure for failure in failures if failure.split == split])
    for failure in failures:
        failed(failure)
    _check_complete(target, [(split, shard) for split, shards in stored.items() for shard in shards])
    check_failures(failures, failure_limit(max_failures, plan.units))
    found = {split: [shard for shard in shards if shard is not None] for split, shards in stored.items()}
    manifests = {split: target.complete(split, shards, replace=True) for split, shards in found.items()}
    target.describe(manifests)
    out.remove_temporaries()
    return manifests


def _verify(target: Target, split: Split, progress: Progress) -> list[StoredShard | None]:
    """Return the shards of a split; None for each that is missing or damaged."""
    names = list(target.plan.shards(split))
    found: list[StoredShard | None] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for shard in pool.map(lambda name: target.finished(split, name), names):
            found.append(shard)
            progress(split, len(found), len(names))
    return found


def _check_complete(target: Target, shards: Sequence[tuple[Split, StoredShard | None]]) -> None:
    missing = [k for k, (_, shard) in enumerate(shards) if shard is None]
    if not missing:
        return
    names = [f"{split}/{name}" for split in target.plan.counts for name in target.plan.shards(split)]
    listed = ", ".join(names[k] for k in missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    counts = sorted({int(shard.part.partition("/")[2]) for _, shard in shards if shard is not None and shard.part})
    cure = "repeat the preparation"
    if len(counts) == 1:
        numbers = sorted({k % counts[0] + 1 for k in missing})
        cure = "run again " + ", ".join(f"--part {number}/{counts[0]}" for number in numbers[:20])
        cure += f" and {len(numbers) - 20} more parts" if len(numbers) > 20 else ""
    elif counts:
        cure = (
            f"the others were written in parts of {' and of '.join(map(str, counts))}, so run all parts of one number"
        )
    raise ValueError(f"{target.out}: {len(missing)} of {len(shards)} shards are missing or damaged, {listed}: {cure}")
