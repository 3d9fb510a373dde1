"""Shards written by Ray: the bytes of one process, also when nodes die."""

import random
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from preparing_process import DATA, start
from ray_clusters import ray_cluster
from toy_clips import FailingClips, ToyClips, digests
from toy_speech import ToySpeech

from seqviews.pipeline.prepare.ray_engine import RayEngine
from seqviews.pipeline.prepare.write import prepare


@pytest.fixture(scope="module")
def three_nodes() -> Any:
    with ray_cluster(3) as cluster:
        yield cluster


@pytest.mark.slow
def test_three_nodes_write_the_same_bytes(three_nodes: Any, toy: Path, speech: Path, tmp_path: Path) -> None:
    engine = RayEngine(three_nodes.address)
    for dataset, expected in ((ToyClips(), toy), (ToySpeech(), speech)):
        prepare(dataset, tmp_path / expected.name, shard_sources=2, engine=engine)
        assert digests(tmp_path / expected.name) == digests(expected)


@pytest.mark.slow
def test_what_a_source_raises_is_raised_here(three_nodes: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^train-7 cannot be read$"):
        prepare(FailingClips(), tmp_path / "out", shard_sources=2, engine=RayEngine(three_nodes.address))
    assert not list(tmp_path.rglob("manifest.json"))


@pytest.mark.slow
def test_a_cluster_is_started_on_this_machine(toy: Path, tmp_path: Path) -> None:
    engine = RayEngine(workers=2, resources={"cpu": 0.5, "memory": 0.1})
    prepare(ToyClips(), tmp_path / "out", shard_sources=2, engine=engine)
    assert digests(tmp_path / "out") == digests(toy)


@pytest.mark.slow
def test_nodes_die_at_random_moments(tmp_path: Path) -> None:
    """Ten times a node is killed and replaced; what was finished stays the same file."""
    expected, out, dice = tmp_path / "one", tmp_path / "out", random.Random(0)
    prepare(DATA["many"], expected, shard_sources=2)
    before: dict[Path, tuple[int, int]] = {}
    with ray_cluster(3) as cluster:
        process = start(out, "slow", f"ray:{cluster.address}")
        while not list(out.rglob("*.tar")):
            time.sleep(0.1)
        for _ in range(10):
            time.sleep(dice.uniform(0, 1))
            assert process.poll() is None, "a node was killed in the middle"
            cluster.remove_node(dice.choice(sorted(cluster.worker_nodes, key=id)), allow_graceful=False)
            for path in out.rglob("*.tar"):
                state = path.stat().st_ino, path.stat().st_mtime_ns
                assert before.setdefault(path, state) == state
            cluster.add_node(num_cpus=1)
        assert process.communicate()[1] == b""
    assert process.returncode == 0
    assert all((path.stat().st_ino, path.stat().st_mtime_ns) == state for path, state in before.items())
    assert digests(out) == digests(expected)


def test_what_is_wrong_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    pytest.importorskip("ray")
    with pytest.raises(ConnectionError, match=f"^no Ray cluster answers at {address}: Connection refused$"):
        prepare(ToyClips(), tmp_path / "out", engine=RayEngine(address))
    with pytest.raises(ValueError, match="'somewhere' is no address of a Ray cluster: give host:port, or auto"):
        prepare(ToyClips(), tmp_path / "out", engine=RayEngine("somewhere"))
    assert not (tmp_path / "out").exists()

    def slow(**options: Any) -> None:
        raise Exception("The current node timed out during startup.")  # as Ray does

    monkeypatch.setattr("ray.init", slow)
    with pytest.raises(ConnectionError, match=r"^no Ray cluster answers at this machine: The current"):
        prepare(ToyClips(), tmp_path / "slow", engine=RayEngine())
    with pytest.raises(ValueError, match="the resource cpu is 0: an amount is above 0"):
        RayEngine(resources={"cpu": 0})
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"the engine ray needs Ray: pip install 'seqviews\[ray\]'"):
        RayEngine()
