"""The examples of CONTRIBUTING.md run as they are written."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tool_calls import call
from toy_clips import digests

from seqviews.augment import MultiView, record_seeds
from seqviews.model.train.runs import Run
from seqviews.pipeline import SequenceStream
from seqviews.pipeline.records import ShardError
from seqviews.pipeline.shards.check import check_dataset
from seqviews.tools import evaluate, train

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
METHOD, AUGMENTATION, DATA_SET, STORE = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
(PROJECT,) = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
(TRAIN,) = re.findall(r"^    seqviews train (.*)$", TEXT.replace("\\\n", ""), re.MULTILINE)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the examples of a data set and a store define, run in a folder of their own."""
    names: dict[str, Any] = {"__name__": "contributing", "folder": None}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("contributing"))
        exec(compile(DATA_SET + STORE, "CONTRIBUTING", "exec", dont_inherit=True), names)
        return names | {"data": Path.cwd() / "data" / "bars"}


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example package, installed."""
    package = tmp_path / "my-methods"
    package.mkdir()
    (package / "my_methods.py").write_text(f"{METHOD}\n\n{AUGMENTATION}")
    (package / "pyproject.toml").write_text(PROJECT)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(tmp_path / "site"), str(package)], check=True)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "my_methods", raising=False)


@pytest.mark.usefixtures("plugin")
def test_the_method_trains_two_steps_and_is_evaluated(
    names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(names["data"].parents[1])
    out = tmp_path / "run"
    arguments = shlex.split(TRAIN.replace("runs/bars", str(out)))
    assert call(train.main, *arguments, "--motion", "brightness", "--motion.strength", "0.3") == 0
    run = Run.load(out)
    assert (run.steps, type(run.method).__name__, run.config.model["size"]) == (2, "FrameAutoencoder", 4)
    assert run.config.motion == {"name": "brightness", "strength": 0.3}
    judging = ["--judges", tmp_path, "--judge-steps", "20"]
    assert call(evaluate.main, "--run", out, "--data", "data/bars", *judging) == 0
    assert "FrameAutoencoder has no sample_static" in (out / "evaluation" / "report.html").read_text()


@pytest.mark.usefixtures("plugin")
def test_the_augmentation_is_a_motion_view(names: dict[str, Any]) -> None:
    from my_methods import Brightness  # type: ignore[import-not-found]  # installed by the fixture

    (batch,) = SequenceStream(names["data"] / "train", batch_size=16)
    seeds = record_seeds(0, 0, batch.indices)
    views = MultiView(motion=Brightness())(batch.x, seeds)
    factors = Brightness().draw(seeds)
    assert 0.5 <= factors.min() < 0.8 < 1.2 < factors.max() <= 1.5
    expected = [(clip * factor).clamp(0, 1) for clip, factor in zip(views.anchor, factors, strict=True)]
    assert torch.equal(views.motion, torch.stack(expected))
    assert torch.equal(Brightness(strength=0)(views.anchor), views.anchor)
    assert torch.equal(Brightness().draw(seeds[3:]), factors[3:])  # whatever the batch


def test_the_data_set_is_prepared_checked_and_streamed(names: dict[str, Any]) -> None:
    assert names["batch"].x.shape == (4, 8, 3, 16, 16)
    for folder in (names["data"], names["folder"]):
        assert [problem for check in check_dataset(folder).values() for problem in check.problems] == []
    (batch,) = SequenceStream(names["data"] / "train", 16)
    for key, clip in zip(batch.keys, batch.x, strict=True):
        places = (clip[:, 0, 0] > 0).int().argmax(1)
        assert set((places.diff() % 16).tolist()) == {{"0": 15, "1": 1}[key[-1]]}


def test_the_store_holds_the_same_bytes_and_is_read(names: dict[str, Any]) -> None:
    files = {path.removeprefix("memory/"): data for path, data in names["folder"].files.items()}
    on_disk = {name: (names["data"] / name).read_bytes() for name in digests(names["data"])}
    assert files == on_disk
    for ours, disk in zip(names["stream"], SequenceStream(names["data"] / "train", 4), strict=True):
        assert ours.keys == disk.keys
        assert torch.equal(ours.x, disk.x)
    (name,) = [path for path in names["folder"].files if path.endswith("train-000001.tar")]
    damaged = {**names["folder"].files, name: names["folder"].files[name][:-1] + b"x"}
    with pytest.raises(ShardError, match=r"train-000001\.tar: its SHA-256"):
        list(SequenceStream(names["MemoryFolder"](damaged) / "train", 4))
