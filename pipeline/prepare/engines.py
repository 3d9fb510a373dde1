"""Engines: where the shards of a preparation are written, in this process or in others."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeAlias

from seqviews.pipeline.prepare.plan import ShardPlan
from seqviews.pipeline.prepare.target import StoredShard

WriteShard: TypeAlias = Callable[[ShardPlan], StoredShard]
Written: TypeAlias = Generator[tuple[ShardPlan, StoredShard], None, None]
Engine: TypeAlias = Callable[[WriteShard, Sequence[ShardPlan]], Written]
"""Writes shards and yields each when it is finished; closing the generator early stops what is being written."""


def this_process(write: WriteShard, plans: Sequence[ShardPlan]) -> Written:
    """Write the shards one after another."""
    for plan in plans:
        yield plan, write(plan)


def processes(write: WriteShard, plans: Sequence[ShardPlan], workers: int) -> Written:
    """Write the shards in spawned processes, to which `write` is pickled, and yield each when it is finished.

    Closing the generator early, or an exception in it (an interrupt included), terminates the processes at once.
    """
    earlier = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(write,))
    try:
        futures = {pool.submit(_write, plan): plan for plan in plans}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BaseException:
        for process in set(multiprocessing.active_children()) - earlier:
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_write_shard: WriteShard


def _start(write: WriteShard) -> None:
    """Initialise a worker: it leaves Ctrl-C to its parent process, and exits when the parent is gone."""
    global _write_shard
    _write_shard = write
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for libraries that are loaded while a shard is written
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _write(plan: ShardPlan) -> StoredShard:
    return _write_shard(plan)
