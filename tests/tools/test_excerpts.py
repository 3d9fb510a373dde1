"""Clips of different lengths from the shards to the latents: every tool takes an excerpt of them, or pads them."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from tiny_training import SIZES, write_config
from tool_calls import Capsys, Failure, call, last_json
from toy_lengths import LENGTHS, ToyLengths, clip_features

from seqviews.model.protocol import Encoder
from seqviews.model.train.config import TrainConfig
from seqviews.model.train.runs import Run
from seqviews.pipeline.prepare.write import write_shards
from seqviews.pipeline.stream.excerpt import Excerpt
from seqviews.pipeline.stream.recordset import RecordSet
from seqviews.tools import check_shards, encode, show_views, train


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24, 6 and 6 clips of 5 to 30 frames."""
    out = tmp_path_factory.mktemp("lengths") / "lengths"
    toy = ToyLengths(clip_features(codec="jpeg", page_frames=8))
    write_shards(
        {"train": ["a", "b", "c", "d"], "val": ["e"], "test": ["f"]}, out, toy.records, toy.info, shard_sources=2
    )
    return out


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of four steps on excerpts of 4 frames, every second."""
    folder = tmp_path_factory.mktemp("run")
    config = write_config(folder, excerpt={"frames": 4, "step": 2}, max_clips=24, batch_size=6)
    assert call(train.main, "--config", config, "--data", data, "--out", folder / "run") == 0
    return folder / "run"


def test_a_training_keeps_its_excerpt_and_the_latents_are_of_it(run: Path, data: Path, tmp_path: Path) -> None:
    assert TrainConfig.read(run / "config.yaml").excerpt_at("centre") == Excerpt(4, 2, "centre")
    method = cast(Encoder, Run.load(run).method)
    for place, rows in ((None, 5), ("first", 5), ("all", 1 + 2 + 2 + 3 + 3)):  # that of 5 frames is too short
        out = tmp_path / f"{place}.npz"
        options = ["--place", place] if place else []
        assert call(encode.main, "--run", run, "--data", data, "--out", out, "--split", "test", *options) == 0
        latents = np.load(out)
        assert latents["dynamic"].shape == (rows, 4, 4)
        records, keys = RecordSet(data / "test"), [f"f-{i}" for i in range(6)]
        for row, (key, start) in enumerate(zip(latents["keys"], latents["start"], strict=True)):
            x = records.batch([keys.index(key)]).x[:, start : start + 7 : 2] / 255
            expected = method.encode(x).static.mean.detach().numpy()
            assert latents["static"][row] == pytest.approx(expected[0], abs=1e-5)
    assert latents["keys"].tolist() == ["f-1", *["f-2", "f-2", "f-3", "f-3"], *["f-4"] * 3, *["f-5"] * 3]
    assert latents["start"].tolist() == [0, 0, 8, 0, 8, 0, 8, 16, 0, 8, 16]


def test_whole_records_are_encoded_as_each_alone(run: Path, data: Path, tmp_path: Path) -> None:
    out, method = tmp_path / "latents.npz", cast(Encoder, Run.load(run).method)
    options = ("--split", "val", "test", "--place", "whole", "--batch-size", 5)
    assert call(encode.main, "--run", run, "--data", data, "--out", out, *options) == 0
    latents = np.load(out)
    assert (latents["dynamic"].shape, latents["factor_time"].shape) == ((12, 30, 4), (12, 30))
    assert latents["lengths"].tolist() == [*LENGTHS, *LENGTHS]
    alone = [clip for split in ("val", "test") for i in range(6) for clip in [RecordSet(data / split).batch([i])]]
    assert latents["keys"].tolist() == [clip.keys[0] for clip in alone]
    for row, clip in enumerate(alone):
        posterior, length = method.encode(clip.x / 255), clip.x.shape[1]
        assert latents["static"][row] == pytest.approx(posterior.static.mean.detach().numpy()[0], abs=1e-5)
        assert latents["dynamic"][row, :length] == pytest.approx(posterior.dynamic.mean.detach().numpy()[0], abs=1e-5)
        assert not latents["dynamic"][row, length:].any()
        assert latents["factor_time"][row].tolist() == [*range(length), *[0] * (30 - length)]


def test_what_a_step_sees(run: Path, data: Path, tmp_path: Path, capsys: Capsys) -> None:
    options = ("--run", run, "--step", 2, "--out", tmp_path / "views.png", "--json")
    assert call(show_views.main, *options) == 0
    assert len(last_json(capsys.readouterr().out)["clips"]) == 4
    assert call(show_views.main, *options, "--", "--excerpt.frames", "5") == 0
    assert call(check_shards.main, data, "--sheet", tmp_path / "sheet.png") == 0


def test_a_training_on_padded_clips_is_of_whole_records(data: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, max_clips=12, batch_size=6)
    assert call(train.main, "--config", config, "--data", data, "--out", tmp_path / "run") == 0
    assert call(show_views.main, "--run", tmp_path / "run", "--step", 2, "--out", tmp_path / "views.png") == 0
    options = ("--data", data, "--out", tmp_path / "z.npz", "--split", "test")
    assert call(encode.main, "--run", tmp_path / "run", *options) == 0
    latents = np.load(tmp_path / "z.npz")
    assert (latents["dynamic"].shape, latents["lengths"].tolist()) == ((6, 30, 4), [*LENGTHS])


def test_without_an_excerpt_and_with_a_wrong_one(run: Path, data: Path, tmp_path: Path, failure: Failure) -> None:
    config = write_config(tmp_path, model={"name": "rwae", **SIZES}, motion=None, content=None)
    options = ("--config", config, "--data", data, "--out", tmp_path / "run")
    message = "have 5 to 30 frames, and rwae trains on records of one length only: take an excerpt of each, for example"
    assert f"{message} --excerpt.frames 5" in failure(train.main, *options, alone=False)
    options = ("--config", write_config(tmp_path), "--data", data, "--out", tmp_path / "run")
    message = "have 5 to 30 frames, and several processes train on records of one length only: take an excerpt of each"
    assert message in failure(train.main, *options, "--devices", "2", "--last", "pad", alone=False)
    message = "have 5 to 30 frames, the configuration wants at least 6"
    assert message in failure(train.main, *options, "--min-frames", "6", alone=False)
    for value, message in (("{frames: 0}", "is not an excerpt"), ("{steps: 2}", "not frames, and optionally step")):
        assert message in failure(train.main, *options, "--excerpt", value, alone=False)
    made = failure(train.main, *options, "--excerpt.frames", "4", "--make-from", "sklearn", alone=False)
    assert "lanes, window and excerpt are for stored records" in made
