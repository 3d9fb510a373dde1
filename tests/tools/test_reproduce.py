"""From prepared data to a table, in processes; killed at random, it ends with the same table."""

import fcntl
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import plugin_packages
import pytest
import yaml
from tiny_training import MODEL, SIZES, TINY
from tool_calls import Failure

from seqviews.tools.reproduce import main


def write_experiment(folder: Path, **changes: Any) -> Path:
    """Two of our methods and one of a package of somebody else."""
    for name, model in {
        "ours": {**TINY, "model": MODEL},
        "rival": {**TINY, "model": {"name": "rwae", **SIZES}, "motion": None, "content": None},
        "plugin": {**TINY, "model": {"name": "mean_clip"}, "motion": None, "content": None},
    }.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(model))
    column = {"title": "Acc", "metrics": ["swap/way/accuracy", "sampled/way/inter_entropy"]}
    rows = [{"name": name, "config": {"compact": str(folder / f"{name}.yaml")}} for name in ("ours", "rival", "plugin")]
    values = {"title": "Tiny", "columns": [column], "rows": rows, "evaluation": {"judge_steps": 20}, **changes}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(values))
    return folder / "tiny.yaml"


def test_what_cannot_be_reproduced_is_one_sentence_before_anything_is_trained(
    toy: Path, speech: Path, tmp_path: Path, failure: Failure
) -> None:
    out = tmp_path / "out"
    experiment = write_experiment(tmp_path, colour="red")
    assert "unknown key 'colour'" in failure(main, experiment, "--data", toy, "--out", out)
    experiment = write_experiment(tmp_path)
    assert "registers a model 'mean_clip'" in failure(main, experiment, "--data", toy, "--out", out)
    assert "no configuration for --scale paper" in failure(
        main, experiment, "--data", toy, "--out", out, "--scale", "paper"
    )
    alone = write_experiment(tmp_path, rows=[{"name": "ours", "config": {"compact": str(tmp_path / "ours.yaml")}}])
    assert "tiny needs a prepared data set, and" in failure(main, alone, "--data", tmp_path, "--out", out)
    assert f"there is no {tmp_path}/x" in failure(main, "table1", "--data", tmp_path / "x", "--out", out)
    assert "seeds are 1, 1: give each once" in failure(main, "table1", "--data", toy, "--out", out, "--seeds", "1", "1")
    ours = {"name": "ours", "config": {"compact": str(tmp_path / "ours.yaml")}}
    misspelt = write_experiment(
        tmp_path, rows=[{**ours, "overrides": {"model": {"alhpa": 1}}}], prepare=["prepare_sprites"]
    )
    line = failure(main, misspelt, "--data", tmp_path, "--out", out)
    assert "the row ours: cannot build the model cdsvae: " in line
    assert "alhpa" in line
    assert not out.exists()
    line = failure(main, "table1", "--data", speech, "--out", out)
    assert "the row MoCoGAN: cannot build the model mocogan: " in line
    assert "MoCoGAN is for clips" in line
    for changes, message in (
        ({"overrides": {"model": {"name": "fhvae"}}}, "the row other: cannot build the model fhvae: .* for segments"),
        ({}, "the row other: a baseline can be given for speech only"),
    ):
        rows = [ours, {**ours, "name": "other", **changes}]
        experiment = write_experiment(tmp_path, rows=rows, baseline="ours")
        assert re.search(message, failure(main, experiment, "--data", toy, "--out", out))
    experiment = write_experiment(tmp_path, rows=[ours], evaluation={"max_clips": 3})
    assert "the row ours: max_clips is for clips only" in failure(main, experiment, "--data", speech, "--out", out)
    experiment = write_experiment(tmp_path, rows=[ours])
    line = failure(main, experiment, "--data", toy, "--out", out)
    assert "toy has clips with the factors shade, path: the column 'Acc' of tiny is of others" in line
    assert [path.name for path in out.iterdir()] == [".lock"]
    with (out / ".lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert f"{out} is in use by another" in failure(main, "table1", "--data", speech, "--out", out)


@pytest.mark.slow
def test_killed_twice_at_random_it_ends_with_the_same_table(few_squares: Path, tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    plugins = plugin_packages.install(tmp_path / "sources", tmp_path / "installed")
    experiment = write_experiment(tmp_path)
    path = os.pathsep.join([str(plugins), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", "import sys; from seqviews.tools.reproduce import main; main(sys.argv[1:])"]
    command += [str(experiment), "--data", str(few_squares), "--max-clips", "300", "--jobs", "2"]

    def start(out: Path) -> "subprocess.Popen[str]":
        options: dict[str, Any] = {"env": environment, "start_new_session": True, "text": True}
        return subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.PIPE, **options)

    started = time.monotonic()
    whole = start(tmp_path / "whole")
    _, messages = whole.communicate()
    assert whole.returncode == 0, messages
    took, rng = time.monotonic() - started, random.Random(0)
    for _ in range(2):
        process = start(tmp_path / "parts")
        try:
            process.communicate(timeout=took * rng.uniform(0.1, 0.6))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    last = start(tmp_path / "parts")
    _, messages = last.communicate()
    assert last.returncode == 0, messages
    for name in ("table.md", "table.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert "| plugin |" in (tmp_path / "whole" / "table.md").read_text()
