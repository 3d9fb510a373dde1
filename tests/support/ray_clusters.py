"""Ray clusters of several nodes on this machine, in a process whose environment has the test helpers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest


@contextmanager
def ray_cluster(nodes: int, cpus: int = 1) -> Iterator[Any]:
    """A cluster with a head that runs no task, and nodes that do."""
    pytest.importorskip("ray")
    os.environ.setdefault("RAY_worker_niceness", "0")  # or the tests wait where the machine is busy
    cluster = import_module("ray.cluster_utils").Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=cpus)
        yield cluster
    finally:
        cluster.shutdown()
