"""Which frames are evaluated of records that differ in length."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from untrained import save_run

from seqviews.model.evaluate.clips.protocol import PSNR
from seqviews.model.evaluate.evaluation import EvaluateConfig, evaluate
from seqviews.model.protocol import Autoencoder
from seqviews.model.train.runs import Run
from seqviews.pipeline.features import Features
from seqviews.pipeline.manifest import DatasetInfo
from seqviews.pipeline.prepare.write import write_shards
from seqviews.pipeline.records import Clip
from seqviews.pipeline.stream.recordset import RecordSet

LENGTHS = (5, 6, 9)


def noise(source: str, rng: np.random.Generator) -> Iterator[Clip]:
    """Clips of 5, 6 and 9 frames, nowhere black."""
    for number, length in enumerate(LENGTHS):
        frames = rng.integers(1, 256, (length, 16, 16, 1), dtype=np.uint8)
        path = [[[float(t), 3.0]] for t in range(length)]
        yield Clip(f"{source}-{number}", frames, {"shade": number % 2, "way": length % 2, "path": path}, source)


def test_a_run_on_padded_clips_is_evaluated_on_the_middle_of_each(tmp_path: Path) -> None:
    features = Features((max(LENGTHS), 16, 16, 1), min_frames=min(LENGTHS)).stored()
    classes: dict[str, list[str] | None] = {"way": ["odd", "even"], "path": None}
    info = DatasetInfo("noise", "CC0-1.0", "nobody", features, {"shade": ["dark", "light"]}, classes)
    write_shards({"train": ["a", "b"], "val": ["c"], "test": ["d", "e"]}, tmp_path / "data", noise, info)
    run = Run.load(save_run(tmp_path / "run"))
    evaluation = evaluate(run, tmp_path / "data", EvaluateConfig(judges=tmp_path / "judges", judge_steps=2))
    records, method, alone = RecordSet(tmp_path / "data" / "test"), cast(Autoencoder, run.method), []
    for index in range(len(records)):
        whole = records.batch([index]).x / 255
        start = (whole.shape[1] - min(LENGTHS)) // 2
        x = whole[:, start : start + min(LENGTHS)]
        posterior = method.encode(x)
        error = (method.decode(posterior.static.mean, posterior.dynamic.mean) - x).square().mean()
        alone.append(-10 * float(error.detach().log10()))
    assert sorted(len(records.batch([index]).x[0]) for index in range(6)) == sorted(LENGTHS * 2)
    assert evaluation.metrics[PSNR] == pytest.approx(np.mean(alone), abs=1e-4)
    assert "real/path/error" in evaluation.metrics
    assert "5 of each, from its middle" in evaluation.page
