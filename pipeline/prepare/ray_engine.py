"""RayEngine: writes the shards of a preparation as tasks on a Ray cluster."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from seqviews.pipeline.prepare.engines import WriteShard, Written
from seqviews.pipeline.prepare.plan import ShardPlan
from seqviews.pipeline.prepare.target import StoredShard

MAX_RETRIES = 16
CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class RayEngine:
    """Writes each shard in a task of a Ray cluster, which repeats it on another node if its node dies.

    What a source raises is raised here. A task is retried after the death of its worker or its node, 16 times; a shard
    that was finished is not written again. At most two tasks wait for each that can run.

    Args:
        address: The running cluster to join, `host:port` or `auto`; by default one is started on this machine.
        workers: Number of shards at a time on a cluster that is started here; on one that is joined, what it has room
            for.
        resources: What a task requires: `cpu`, `gpu`, `memory` in GB, or a resource of the cluster by name. By default
            one CPU.

    Raises:
        ValueError: If Ray is not installed, or a resource is not above 0.
    """

    address: str | None = None
    workers: int = 1
    resources: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if find_spec("ray") is None:
            raise ValueError("the engine ray needs Ray: pip install 'seqviews[ray]'")
        if wrong := [name for name, amount in self.resources.items() if not amount > 0]:
            raise ValueError(f"the resource {wrong[0]} is {self.resources[wrong[0]]}: an amount is above 0")

    def __call__(self, write: WriteShard, plans: Sequence[ShardPlan]) -> Written:
        """Yield each shard when it is finished. Raises `ConnectionError` if there is no cluster at the address."""
        if self.address not in (None, "auto"):
            _check_answers(self.address)
        return self._written(write, plans)

    def _written(self, write: WriteShard, plans: Sequence[ShardPlan]) -> Written:
        ray = _ray()
        with self._cluster():
            # the reference is in a tuple, so that a worker gets the writer once and not in each task
            sent, todo, pending = (ray.put(write), Path.cwd(), sys.path), iter(plans), dict[Any, ShardPlan]()
            task = ray.remote(_write).options(max_retries=MAX_RETRIES, scheduling_strategy="SPREAD", **self._required())
            try:
                while True:
                    room = max(0, self._capacity() - len(pending))
                    pending |= {task.remote(sent, plan): plan for plan in islice(todo, room)}
                    if not pending:
                        return
                    done, _ = ray.wait(list(pending), num_returns=1)
                    yield pending.pop(done[0]), _result(done[0])
            except BaseException:
                for reference in pending:
                    ray.cancel(reference, force=True)
                raise

    @contextmanager
    def _cluster(self) -> Iterator[None]:
        """Join or start a cluster, unless this process has joined one, and leave or end it after the block."""
        ray = _ray()
        if ray.is_initialized():
            yield
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_worker_niceness", "0")  # of a cluster that is started here, as that of processes
        quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
        own: dict[str, Any] = {"num_cpus": self.workers, "include_dashboard": False} if self.address is None else {}
        if own:
            os.environ.setdefault("RAY_task_events_report_interval_ms", "0")  # for a dashboard only
        try:
            ray.init(address=self.address or "local", **own, **quiet)
        except Exception as error:  # a bare one if a node starts too slowly
            raise ConnectionError(f"no Ray cluster answers at {self.address or 'this machine'}: {error}") from None
        try:
            yield
        finally:
            ray.shutdown()

    def _required(self) -> dict[str, Any]:
        named = dict(self.resources)
        required: dict[str, Any] = {"num_cpus": named.pop("cpu", 1.0)}
        if "gpu" in named:
            required["num_gpus"] = named.pop("gpu")
        if "memory" in named:
            required["memory"] = int(named.pop("memory") * 1e9)
        return {**required, "resources": named} if named else required

    def _capacity(self) -> int:
        """Return how many tasks to have in flight: twice what the cluster, which may grow, has room for now."""
        ray = _ray()
        names, has = {"cpu": "CPU", "gpu": "GPU"}, ray.cluster_resources()
        needed = {"cpu": 1.0, **self.resources}
        amounts = {names.get(name, name): value * (1e9 if name == "memory" else 1) for name, value in needed.items()}
        return max(2, 2 * int(min(has.get(name, 0.0) // value for name, value in amounts.items())))


def _ray() -> Any:
    """Return the package, imported where it is used: nobody else pays for it."""
    return import_module("ray")


def _check_answers(address: str) -> None:
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        if not host or not port.isdecimal():
            raise ValueError(f"{address!r} is no address of a Ray cluster: give host:port, or auto")
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise ConnectionError(f"no Ray cluster answers at {address}: {error.strerror or error}") from None


def _result(reference: Any) -> StoredShard:
    ray = _ray()
    try:
        stored: StoredShard = ray.get(reference)
    except ray.exceptions.RayTaskError as error:  # its text is the traceback of the worker
        raise (error.cause if isinstance(error.cause, Exception) else error) from None
    except ray.exceptions.RayError as error:
        raise RuntimeError(f"Ray gave up a shard after {MAX_RETRIES} retries: {error}") from None
    return stored


_received: dict[Any, WriteShard] = {}


def _write(sent: tuple[Any, Path, list[str]], plan: ShardPlan) -> StoredShard:
    """Write a shard in a worker, which keeps the writer for its next tasks."""
    reference, folder, modules = sent
    if reference not in _received:
        _received.clear()
        sys.path.extend(path for path in modules if path not in sys.path)
        with suppress(OSError):  # on another machine relative paths may have no meaning
            os.chdir(folder)
        _received[reference] = _ray().get(reference)
    return _received[reference](plan)
