"""Two real processes, started by Lightning and by torchrun, train as one process does with the same batches."""

import csv
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tiny_training import MODEL, write_config
from tool_calls import Capsys, call

from seqviews.model.train.config import TrainConfig
from seqviews.model.train.runs import LOG
from seqviews.tools import train

LAUNCHERS = {"lightning": [], "torchrun": ["-m", "torch.distributed.run", "--nproc-per-node", "2"]}
STEPS, BATCH = 8, 8


def rows(run: Path) -> list[dict[str, float]]:
    return [{k: float(v or "nan") for k, v in row.items()} for row in csv.DictReader((run / LOG).open())]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", sorted(LAUNCHERS))
def test_two_processes_log_what_one_does(
    toy: Path, tmp_path: Path, launcher: str, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    options: dict[str, Any] = {"max_clips": BATCH * STEPS, "last": "pad", "precision": "32-true"}
    config = write_config(tmp_path, batch_size=BATCH, model={**MODEL, "gamma": 1.0}, **options)
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, torch\n"
        "from seqviews.model.train import trainer\n"
        "from seqviews.tools.train import main\n"
        "torch.set_num_threads(1)\n"
        "trainer.LOG_EVERY = trainer.VALIDATE_EVERY = 2\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, *LAUNCHERS[launcher], str(script), "--config", config, "--data", str(toy)]
    command += ["--out", str(tmp_path / "two"), "--devices", "2"]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("LOG_EVERY", "VALIDATE_EVERY"):
        monkeypatch.setattr(f"seqviews.model.train.trainer.{name}", 2)
    assert call(train.main, "--config", config, "--data", toy, "--out", tmp_path / "one") == 0
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert len(one) == len(two) == STEPS // 2
    for expected, found in zip(one, two, strict=True):
        assert found == pytest.approx(expected, rel=2e-3, abs=2e-4)
    assert TrainConfig.read(tmp_path / "two/config.yaml").devices == 2
    longer = ["--config", config, "--data", toy, "--out", tmp_path / "two", "--resume"]
    assert call(train.main, *longer) == 0  # with one process, where nothing is left to do
    assert "resuming on 1 devices, started on 2: the batches and losses are the same" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_move_each_player_as_one_does(toy: Path, tmp_path: Path) -> None:
    model = {"name": "rwae", "divergence": "gan", "width": 0.1, "static_dim": 8, "dynamic_dim": 4, "hidden_dim": 16}
    options: dict[str, Any] = {"max_clips": BATCH * STEPS, "last": "pad", "precision": "32-true", "motion": None}
    config = write_config(tmp_path, batch_size=BATCH, model=model, content=None, **options)
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, torch\n"
        "from seqviews.model.train import trainer\n"
        "from seqviews.tools.train import main\n"
        "torch.set_num_threads(1)\n"
        "trainer.LOG_EVERY = 2\n"
        "main(sys.argv[1:])\n"
    )
    for devices in ("1", "2"):
        command = [sys.executable, str(script), "--config", config, "--data", str(toy), "--devices", devices]
        command += ["--out", str(tmp_path / devices)]
        done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    one, two = rows(tmp_path / "1"), rows(tmp_path / "2")
    assert len(one) == len(two) == STEPS // 2
    assert {"loss/discriminator", "loss/model", "gradient_norm/discriminator"} <= one[0].keys()
    for expected, found in zip(one, two, strict=True):
        assert found == pytest.approx(expected, rel=5e-3, abs=5e-4)


def check_same_losses(found: list[dict[str, float]], expected: list[dict[str, float]], rel: float) -> None:
    assert len(found) == len(expected) == STEPS // 2
    for some, others in zip(found, expected, strict=True):
        losses = {name: value for name, value in others.items() if name.startswith("loss/") or name == "loss"}
        assert {name: some[name] for name in losses} == pytest.approx(losses, rel=rel)


@pytest.mark.slow
def test_two_machines_log_what_one_does_and_resume(toy: Path, tmp_path: Path) -> None:
    """Two groups of processes on 127.0.0.1, as torchrun starts one on each machine; one is killed and both resumed."""
    options: dict[str, Any] = {"max_clips": BATCH * STEPS, "last": "pad", "precision": "32-true"}
    config = write_config(tmp_path, batch_size=BATCH, model={**MODEL, "gamma": 1.0}, **options)
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, sys, torch\n"
        "from seqviews.model.train import callbacks, trainer\n"
        "from seqviews.tools.train import main\n"
        "torch.set_num_threads(1)\n"
        "trainer.LOG_EVERY = trainer.VALIDATE_EVERY = 2\n"
        "trainer.CHECKPOINT_EVERY = 2\n"
        "log = callbacks.LogMetrics.on_train_batch_end\n"
        "def killed(self, trainer, module, *rest):\n"
        "    if os.environ.get('KILL') == os.environ['RANK'] and module.step == 5:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    log(self, trainer, module, *rest)\n"
        "callbacks.LogMetrics.on_train_batch_end = killed\n"
        "main(sys.argv[1:])\n"
    )

    def run(nodes: int, out: str, kill: str = "", resume: bool = False) -> list[subprocess.CompletedProcess[str]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        meeting = ["--nnodes", str(nodes), "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", port]
        training = [str(script), "--config", config, "--data", str(toy), "--out", str(tmp_path / out)]
        training += ["--nodes", str(nodes), *(["--resume"] if resume else [])]
        command = [sys.executable, "-m", "torch.distributed.run", *meeting]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "KILL": kill}

        def start(node: int) -> subprocess.CompletedProcess[str]:
            each = [*command, "--node-rank", str(node), *training]
            return subprocess.run(each, env=environment, capture_output=True, text=True)

        with ThreadPoolExecutor(nodes) as pool:
            return list(pool.map(start, range(nodes)))

    assert [done.returncode for done in run(1, "one")] == [0]
    machines = run(2, "two")
    assert [done.returncode for done in machines] == [0, 0], machines[0].stderr
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    check_same_losses(two, one, rel=1e-5)
    killed = run(2, "killed", kill="1")
    assert all(done.returncode for done in killed)
    assert "another process of this training has ended; --resume continues" in killed[0].stderr
    assert [done.returncode for done in run(2, "killed", resume=True)] == [0, 0]
    check_same_losses(rows(tmp_path / "killed"), two, rel=1e-6)
