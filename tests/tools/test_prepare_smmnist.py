import subprocess
import sys
from pathlib import Path

from tool_calls import TOOLS, last_json


def test_writes_the_splits_and_a_summary(tmp_path: Path) -> None:
    out = tmp_path / "digits"
    options = ["--digits", "sklearn", "--clips", "4", "2", "0", "--frames", "3", "--size", "16", "--shard-sources", "2"]
    command = [sys.executable, str(TOOLS / "prepare_smmnist.py"), *options, "--out", str(out), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = last_json(done.stdout)
    tars = sorted(out.rglob("*.tar"))
    names = ["train/train-000000.tar", "train/train-000001.tar", "val/val-000000.tar"]
    assert [str(path.relative_to(out)) for path in tars] == names
    counts = {split: (row["records"], row["shards"]) for split, row in summary.items()}
    assert counts == {"train": (4, 2), "val": (2, 1)}
    assert sum(row["bytes"] for row in summary.values()) == sum(path.stat().st_size for path in tars)
    assert "train: 4 of 4" in done.stderr.splitlines()  # plain lines without a terminal
