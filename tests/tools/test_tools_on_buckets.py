"""The tools on a bucket: prepare, check, train, encode and show; secrets; a training that is killed."""

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from fault_proxy import Fault
from killed_training import Training
from moving_squares import MovingSquares
from object_storage import KEY, SECRET, Storage
from tiny_training import write_config
from toy_clips import ToyClips
from untrained import save_run

from seqviews.pipeline.manifest import load_manifest
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.stream.order import EpochOrder


def run(tool: str, *options: object) -> subprocess.CompletedProcess[str]:
    """Run a tool; what its processes and threads were called is added to what it told."""
    command = [sys.executable, "-m", f"seqviews.tools.{tool}", *map(str, options), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    titles: set[str] = set()
    watcher = threading.Thread(target=watch_titles, args=(process, titles))
    watcher.start()
    told, errors = process.communicate()
    watcher.join()
    assert any("seqviews.tools" in title for title in titles)
    return subprocess.CompletedProcess(sorted(titles), process.returncode, told, errors)


def watch_titles(process: subprocess.Popen[str], titles: set[str]) -> None:
    """Collect what `ps` shows of a process, its threads and what they started, as long as it runs."""
    while process.poll() is None:
        found = [process.pid]
        for pid in found:  # grows meanwhile
            with suppress(FileNotFoundError, ProcessLookupError):
                titles.add(Path(f"/proc/{pid}/cmdline").read_text())
                for task in Path(f"/proc/{pid}/task").iterdir():
                    titles.add((task / "comm").read_text())
                    found += map(int, (task / "children").read_text().split())
        time.sleep(0.02)


@pytest.mark.slow
def test_every_tool_takes_a_url_and_none_tells_a_secret(storage: Storage, toy: Path, tmp_path: Path) -> None:
    prepare(ToyClips(), storage.url, shard_sources=2)
    training = ["--config", write_config(tmp_path, max_clips=120)]
    trained = tmp_path / "run"
    squares = list(enumerate([f"{storage.url}-squares", str(tmp_path / "squares")]))
    for _, place in squares:
        prepare(MovingSquares((16, 8, 12)), place, shard_sources=4)
    judging = ["--run", save_run(tmp_path / "untrained"), "--judges", tmp_path / "judges", "--judge-steps", 4]
    told = [
        run("check_shards", storage.url, "--sheet", tmp_path / "sheet.png", "--cache-folder", tmp_path / "cache"),
        run("train", *training, "--data", storage.url, "--out", trained, "--debug", "--cache-size", "0.5"),
        run("encode", "--run", trained, "--data", storage.url, "--out", tmp_path / "bucket.npz"),
        run("encode", "--run", trained, "--data", toy, "--out", tmp_path / "folder.npz"),
        run("show_views", *training, "--data", storage.url, "--step", 3, "--out", tmp_path / "views.png"),
        *(run("evaluate", *judging, "--data", place, "--out", tmp_path / f"scores{i}") for i, place in squares),
    ]
    assert [done.returncode for done in told] == [0] * len(told), [done.stderr for done in told]
    assert json.loads(told[0].stdout.splitlines()[-1])["records"] == 54
    assert (tmp_path / "bucket.npz").read_bytes() == (tmp_path / "folder.npz").read_bytes()
    scores = [(tmp_path / f"scores{i}" / "metrics.json").read_bytes() for i, _ in squares]
    assert scores[0] == scores[1]
    storage.proxy.faults = [Fault("status", times=1e9, status=403)]
    failed = run("train", *training, "--data", storage.url, "--out", tmp_path / "no", "--cache-folder", tmp_path / "x")
    assert failed.returncode == 1
    assert "access was denied (403 SlowDown)" in failed.stderr.splitlines()[-1]
    told += [failed]
    written = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for done in told:
        written |= {f"{done.args} {n}": str(getattr(done, n)).encode() for n in ("stdout", "stderr", "args")}
    assert len(written) > 20
    assert not [name for name, data in written.items() if KEY.encode() in data or SECRET.encode() in data]


@pytest.mark.parametrize("url", ["ftp://example.org/x", "s3://key:secret@bucket/x", "s3://bucket/x?token=1", "s3://"])
def test_other_urls_are_wrong_arguments(url: str) -> None:
    done = run("check_shards", url)
    assert done.returncode == 2
    assert "secret" not in done.stderr.replace("password, token", "")


def test_a_cache_that_is_too_small_is_told_at_the_start(storage: Storage, toy: Path, tmp_path: Path) -> None:
    storage.upload(toy / "train", storage.folder() / "train")
    options = ["--config", write_config(tmp_path), "--data", storage.url, "--out", tmp_path / "run"]
    done = run("train", *options, "--cache-size", "0.00001")
    assert done.returncode == 1
    assert "may take 0.0 MB, and the windows of" in done.stderr


@pytest.mark.parametrize(("times", "steps"), [(1, 60), pytest.param(20, 600, marks=pytest.mark.slow)])
def test_kill_9_of_a_training_from_the_bucket(storage: Storage, tmp_path: Path, times: int, steps: int) -> None:
    """With the log, the records and the weights of one from the folder that was left alone.

    The cache is empty at every start and holds 36 of the 45 shards, so that some are fetched all the time.
    """
    data = tmp_path / "data"
    prepare(ToyClips((45, 3, 0)), data, shard_sources=1)
    storage.upload(data)
    size = 36 * max(shard.bytes for shard in load_manifest(data / "train").shards) / 1e9
    undisturbed = Training(tmp_path / "undisturbed", data, steps=steps)
    options = ("--cache-folder", str(storage.cache.folder), "--cache-size", f"{size:.9f}")
    killed = Training(tmp_path / "killed", storage.url, *options, steps=steps)
    process = undisturbed.start()
    undisturbed.wait_for_step(process)
    begun = time.monotonic()
    assert process.wait() == 0
    whole, moments = time.monotonic() - begun, random.Random(times)
    for _ in range(times):
        shutil.rmtree(storage.cache.folder, ignore_errors=True)
        storage.proxy.faults = transient()
        process = killed.start()
        killed.wait_for_step(process)
        killed.wait_for_checkpoint(process)
        time.sleep(moments.uniform(0, whole / times))
        assert process.poll() is None, "it was killed in the middle"
        process.kill()
        process.wait()
        assert all(fault.fired == fault.times for fault in storage.proxy.faults)
    storage.proxy.faults = []
    assert killed.start().wait() == 0
    repeated = times * sum(fault.times for fault in transient())
    assert storage.proxy.count(r"\.tar$") > 45 + repeated, "some were fetched again, and not for a fault"
    killed.assert_same_end(undisturbed)


def transient() -> list[Fault]:
    """Of different shards, so that none is damaged too often."""
    tar = r"GET .*train-0000{}\d\.tar$"
    return [
        Fault("reset", tar.format(0), at=500, times=2),
        Fault("flip", tar.format(1), at=900),
        Fault("status", tar.format(2), times=2),
        Fault("cut", tar.format(3), at=3000, times=2),
    ]


@pytest.mark.slow
def test_two_processes_fetch_only_their_lanes(storage: Storage, toy: Path, tmp_path: Path) -> None:
    """Six shards in six lanes, and each process a cache of its own; ahead, those of its lanes in the next epoch."""
    storage.upload(toy / "train", storage.folder() / "train")
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\nfrom seqviews.tools import train\n"
        f"os.environ['XDG_CACHE_HOME'] = {str(tmp_path / 'xdg')!r} + os.environ.get('LOCAL_RANK', '0')\n"
        "train.main(sys.argv[1:])\n"
    )
    command = [sys.executable, str(script), "--config", write_config(tmp_path, max_clips=36), "--data", storage.url]
    command += ["--out", str(tmp_path / "run"), "--devices", "2", "--last", "pad"]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    digests = [shard.sha256 for shard in load_manifest(toy / "train").shards]
    orders = [EpochOrder([6] * 6, seed=0, epoch=epoch, lanes=6, window=4) for epoch in range(2)]
    for rank in range(2):
        lanes = range(rank, 6, 2)
        now, next_epoch = ({shard for lane in lanes for shard in order.shards_of(lane, 0)} for order in orders)
        fetched = {digests.index(path.stem) for path in tmp_path.glob(f"xdg{rank}/seqviews/shards/*.tar")}
        assert now <= fetched <= now | next_epoch
    assert max(storage.proxy.requests.values()) <= 2 + 2, "the manifest, by two streams of each process"
