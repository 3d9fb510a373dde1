"""Every part of the measurement on a GPU runs, at a tiny size on a CPU."""

import json
from pathlib import Path

import pytest
from tool_calls import call

from seqviews.tools import bench
from seqviews.tools.benchmarks.gpu import PARTS


def test_the_dry_run_measures_every_part(tmp_path: Path) -> None:
    out = tmp_path / "gpu"
    arguments = ["gpu", "--dry-run", "--device", "cpu", "--minutes", "0.02", "--out", out]
    assert call(bench.main, *arguments) == 0
    result = json.loads((out / "gpu.json").read_text())
    assert [line.split(":")[0] for line in (out / "gpu.log").read_text().splitlines()] == list(PARTS)
    assert not [result[name] for name in PARTS if "failed" in result[name]]
    for rates in result["views"].values():
        assert isinstance(rates, float) or min(rates["ours"], rates["kornia"]) > 0
    assert min(result["step"]["clips_per_second"].values()) > 0
    assert sum(result["sprites"]["percent"].values()) == pytest.approx(100, abs=1)
    assert 0 <= result["smmnist"]["verdict"]["swap/digits/accuracy"] <= 1
    assert result["sprites"]["stand_in"] is True
    assert call(bench.main, *arguments) == 1


def test_without_a_device_it_names_the_dry_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(bench.main, "gpu", "--out", tmp_path / "gpu") == 1
    assert "--dry-run --device cpu" in capsys.readouterr().err
