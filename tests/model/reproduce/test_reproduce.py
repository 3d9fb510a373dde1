"""What is prepared and checked before a table's rows are trained."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tool_calls import call

from seqviews.model.reproduce import reproduce as module
from seqviews.model.reproduce.experiment import Experiment
from seqviews.model.reproduce.jobs import Job
from seqviews.model.reproduce.reproduce import ReproduceConfig, reproduce
from seqviews.model.train.config import TrainConfig
from seqviews.model.train.trainer import assemble
from seqviews.pipeline.datasets.digits import sklearn_digits
from seqviews.pipeline.manifest import load_manifest
from seqviews.pipeline.storage.urls import open_folder
from seqviews.tools.prepare_smmnist import main as prepare_smmnist

FEW: list[str | int] = [
    "prepare_smmnist",
    "--digits",
    "{raw}",
    "--clips",
    32,
    8,
    8,
    "--digits-per-clip",
    2,
    "--workers",
    1,
]


class Started(Exception):
    """Trainings start."""


@pytest.fixture
def preparation_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Preparations run in this process, and `Started` is raised in place of trainings."""

    def run_jobs(jobs: Sequence[Job], *rest: Any) -> None:
        for job in jobs:
            if job.arguments[0] != "prepare_smmnist":
                raise Started(str(len(jobs)))
            assert call(prepare_smmnist, *job.arguments[1:]) == 0

    monkeypatch.setattr(module, "run_jobs", run_jobs)


@pytest.fixture
def idx_files(tmp_path: Path) -> Path:
    """A folder of IDX files, with the digits in scikit-learn."""
    digits, folder = sklearn_digits(), tmp_path / "digits"
    folder.mkdir()
    for name, values in (("images-idx3-ubyte", digits.images), ("labels-idx1-ubyte", digits.labels)):
        sizes = np.array(values.shape, ">i4").tobytes()
        (folder / name).write_bytes(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes())
    return folder


@pytest.mark.usefixtures("preparation_alone")
def test_rows_on_moving_digits_are_trained_on_small_clips_that_are_made_anew(idx_files: Path, tmp_path: Path) -> None:
    experiment = replace(Experiment.read("table3"), prepare=FEW)
    out = tmp_path / "out"
    with pytest.raises(Started, match="5"):
        reproduce(experiment, ReproduceConfig(data=str(idx_files), out=out))
    for split in ("train", "test"):
        assert load_manifest(open_folder(out / "data" / split)).dataset.features.shape == (15, 32, 32, 1)
    for path in sorted((out / "configs").iterdir()):
        config = TrainConfig.read(path)
        assert (config.data, config.make_from) == (str(out / "data"), str(idx_files))
        config, data, _ = assemble(replace(config, batch_size=2))
        assert config.model["frame_shape"] == [1, 32, 32]
        assert next(iter(data.train_dataloader())).keys[0].startswith("made-0-")
    with pytest.raises(Started, match="5"):
        reproduce(experiment, ReproduceConfig(data=str(out / "data"), out=tmp_path / "stored"))
    assert TrainConfig.read(tmp_path / "stored" / "configs" / "dsvae-0.yaml").make_from is None
