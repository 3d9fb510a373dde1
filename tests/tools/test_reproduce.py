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
from threading import Timer
from typing import Any

import plugin_packages
import pytest
import torch
import yaml
from tiny_training import MODEL, SIZES, TINY
from tool_calls import Capsys, Failure, call

from seqviews.model.reproduce import reproduce
from seqviews.tools.reproduce import main


def stop(*_: Any) -> None:
    """In place of `run_jobs`."""
    raise ChildProcessError("started")


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
    unknown = [{"title": "Acc", "metrics": ["static_drown/shade/accuracy"]}]
    experiment = write_experiment(tmp_path, rows=[ours], columns=unknown)
    assert "the column 'Acc' of tiny is of others" in failure(main, experiment, "--data", toy, "--out", out)
    assert [path.name for path in out.iterdir()] == [".lock"]


def test_what_was_asked_for_before_must_be_the_same(
    toy: Path, tmp_path: Path, failure: Failure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else metrics of another judge, or of other records, would come into the table."""
    monkeypatch.setattr(reproduce, "run_jobs", stop)
    ours = {"name": "ours", "config": {"compact": str(tmp_path / "ours.yaml")}}
    column = {"title": "Acc", "metrics": ["swap/shade/accuracy"]}
    first, out = {"rows": [ours], "columns": [column]}, tmp_path / "out"
    assert "started" in failure(main, write_experiment(tmp_path, **first), "--data", toy, "--out", out)
    monkeypatch.chdir(tmp_path)
    relative = os.path.relpath(toy, tmp_path)
    assert "started" in failure(main, "tiny.yaml", "--data", relative, "--out", "out")
    others: list[dict[str, Any]] = [{"evaluation": {"judge_steps": 30}}, {"baseline": "ours"}, {"evaluation": {}}]
    for changes in others:
        experiment = write_experiment(tmp_path, **first, **changes)
        assert "reproduction.yaml is of another reproduction" in failure(main, experiment, "--data", toy, "--out", out)


def test_a_second_start_waits_for_the_first(
    toy: Path, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduce, "run_jobs", stop)
    ours = {"name": "ours", "config": {"compact": str(tmp_path / "ours.yaml")}}
    experiment = write_experiment(tmp_path, rows=[ours], columns=[{"title": "Acc", "metrics": ["swap/shade/accuracy"]}])
    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        Timer(0.5, fcntl.flock, [file, fcntl.LOCK_UN]).start()
        started = time.monotonic()
        assert call(main, experiment, "--data", toy, "--out", out) == 1
    assert time.monotonic() - started > 0.5
    first, last = capsys.readouterr().err.splitlines()
    assert first == f"{out} is in use by another reproduction: waiting until it ends"
    assert last.endswith("started")


REPRODUCE = """
import sys
from seqviews.model.reproduce import jobs
from seqviews.tools.reproduce import main

often = "from seqviews.model.train import trainer; trainer.CHECKPOINT_EVERY = 5; "
jobs.COMMAND[2] = jobs.COMMAND[2].replace("from seqviews.tools.cli", often + "from seqviews.tools.cli")
main(sys.argv[1:])
"""


def steps(out: Path) -> list[int]:
    """Of the checkpoint of each training."""
    return [torch.load(path, weights_only=True)["global_step"] for path in out.glob("runs/*/checkpoints/last.ckpt")]


@pytest.mark.slow
def test_killed_twice_at_random_it_ends_with_the_same_table(few_squares: Path, tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    plugins = plugin_packages.install(tmp_path / "sources", tmp_path / "installed")
    experiment = write_experiment(tmp_path)
    path = os.pathsep.join([str(plugins), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", REPRODUCE, str(experiment), "--data", str(few_squares)]
    command += ["--max-clips", "1200", "--jobs", "2"]

    def start(out: Path) -> "subprocess.Popen[str]":
        options: dict[str, Any] = {"env": environment, "start_new_session": True, "text": True}
        return subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.PIPE, **options)

    started = time.monotonic()
    whole = start(tmp_path / "whole")
    _, messages = whole.communicate()
    assert whole.returncode == 0, messages
    took, rng = time.monotonic() - started, random.Random(0)
    process = start(tmp_path / "parts")
    while not any(0 < step < 100 for step in steps(tmp_path / "parts")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()  # alone: its trainings end, too, and the next start waits for it
    process.communicate()
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
    page = (tmp_path / "whole" / "report.html").read_text()
    reports = re.findall('<a href="([^"]+)"', page)
    assert len(reports) == len(list((tmp_path / "whole").glob("evaluations/*"))) > 1
    assert all((tmp_path / "whole" / report).is_file() for report in reports)
    assert 'srcset="data:image/webp;base64,' in page
