"""A training on clips that are made anew in every epoch; that it resumes bit for bit is in test_train_killed.py."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_training import Training
from tiny_training import write_config
from tool_calls import Failure, call
from torch import distributed

from seqviews.model.train.config import TrainConfig
from seqviews.model.train.data import TrainingData
from seqviews.model.train.preview import views_at
from seqviews.pipeline.datasets.digits import sklearn_digits
from seqviews.pipeline.datasets.smmnist import MovingDigits
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.stream.stream import SequenceStream
from seqviews.tools.train import main

DOCS = Path(__file__).parents[2] / "docs"


def test_training_clips_are_made_like_the_stored_ones_and_validation_clips_are_read(
    few_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = TrainingData(few_digits, batch_size=12, min_frames=4, seed=3, factors=["digits"], make_from="sklearn")
    stored = SequenceStream(few_digits / "train", 12)
    batches = [next(iter(stream)) for stream in (data.train_dataloader(), stored)]
    assert len(data.stream) == len(stored)
    assert batches[0].x.shape == batches[1].x.shape
    x, factors = MovingDigits(sklearn_digits(), (1, 0, 0), 2, 4, 16).make(3, 0, range(12))
    torch.testing.assert_close(batches[0].x.permute(0, 1, 3, 4, 2), torch.from_numpy(x))
    assert batches[0].factors["digits"].tolist() == factors["digits"].tolist()
    validation = data.validation()
    assert validation is not None
    assert {key for batch in validation for key in batch.keys} == {f"val-{number:06d}" for number in range(12)}
    for name, value in {"is_initialized": True, "get_rank": 1, "get_world_size": 2}.items():
        monkeypatch.setattr(distributed, name, lambda value=value: value)
    assert next(iter(data.train_dataloader())).indices.tolist() == [1, 3, 5, 7, 9, 11]


def test_views_of_a_step_are_those_of_its_made_clips(few_digits: Path, tmp_path: Path) -> None:
    config = TrainConfig.preset(
        write_config(tmp_path), data=str(few_digits), out=str(tmp_path / "run"), make_from="sklearn"
    )
    assert views_at(config, 5).batch.keys[0] == "made-1-000012"


def test_what_cannot_be_made_is_an_error_in_one_sentence(
    few_digits: Path, toy: Path, tmp_path: Path, failure: Failure
) -> None:
    rest = ["--config", write_config(tmp_path), "--out", tmp_path / "run"]
    changed = shutil.copytree(few_digits, tmp_path / "changed")
    manifest = json.loads((few_digits / "train" / "manifest.json").read_text())
    manifest["parameters"]["digits"]["sha256"] = "0" * 64
    (changed / "train" / "manifest.json").write_text(json.dumps(manifest))
    for data, digits, message in (
        (toy, "sklearn", "clips of toy cannot be made anew: only those of prepare_smmnist can"),
        (few_digits, tmp_path / "none", "is not a folder: give one with MNIST's IDX files, or sklearn"),
        (changed, "sklearn", "sklearn: they are not the digits of the stored clips: their SHA-256 begins with"),
        (tmp_path, "sklearn", "no manifest.json"),
    ):
        assert message in failure(main, *rest, "--data", data, "--make-from", digits)
    mixed = failure(main, *rest, "--data", few_digits, "--make-from", "sklearn", "--window", 1)
    assert "lanes, window and excerpt are for stored records: leave them out with make_from" in mixed
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_whose_digits_changed(few_digits: Path, tmp_path: Path) -> None:
    """The data set was prepared again, with more clips of other digits, in the same place."""
    data = shutil.copytree(few_digits, tmp_path / "data")
    training = Training(tmp_path, data, "--make-from", "sklearn")
    process = training.start()
    training.wait_for_checkpoint(process)
    process.kill()
    process.wait()
    shutil.rmtree(data)
    prepare(MovingDigits(sklearn_digits(), (37, 12, 12), 2, 4, 16), data)
    assert training.start().wait() == 1
    (line,) = [line for line in training.messages.read_text().splitlines() if "error" in line]
    assert "the saved state is not of this stream of made smmnist: it has made" in line


def test_a_run_on_stored_clips_does_not_resume_on_made_ones(few_digits: Path, tmp_path: Path, failure: Failure) -> None:
    options = ["--config", write_config(tmp_path, max_clips=12), "--data", few_digits, "--out", tmp_path / "run"]
    assert call(main, *options) == 0
    message = "is of another training than these arguments: make_from is None, not sklearn"
    assert message in failure(main, *options, "--make-from", "sklearn", "--resume")


def test_the_example_of_the_documentation_trains(few_digits: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "smmnist.md").read_text(), re.DOTALL)
    config = write_config(tmp_path, max_clips=24)
    for old, new in {
        "smmnist-compact": config,
        "data/smmnist": few_digits,
        "mnist-8k": "sklearn",
        "runs": tmp_path,
    }.items():
        assert old in code
        code = code.replace(old, str(new))
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["run"].steps == 2
