from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moving_squares import MovingSquares
from square_models import SquareGenerator
from toy_speech import N_MELS, ToySpeech
from untrained import run_of, save_run

from seqviews.model.scaling import scale_of
from seqviews.model.train.runs import Run
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.stream.stream import SequenceStream
from seqviews.tools.encode import main

COUNTS = {"train": 40, "val": 16, "test": 24}
PROBE = Path(__file__).parents[2] / "docs" / "latents.md"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "squares"
    prepare(MovingSquares((40, 16, 24)), out, shard_sources=8)
    return out


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("runs") / "run")


def encode(run: Path, data: Path, out: Path, *options: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["--run", str(run), "--data", str(data), "--out", str(out), *options])
    return int(exit_.value.code or 0)


def test_all_splits_in_one_file_without_pickle(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "latents.npz"
    assert encode(run, data, out, "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"latents": str(out), "clips": COUNTS}
    latents = np.load(out, allow_pickle=False)
    assert set(latents) == {"static", "dynamic", "keys", "split", "factor_shade", "factor_way", "factor_path"}
    assert latents["split"].tolist() == [split for split, count in COUNTS.items() for _ in range(count)]
    method: Any = Run.load(run).method
    for split in COUNTS:
        (batch,) = SequenceStream(data / split, COUNTS[split], factors=("way",))
        rows = np.flatnonzero(latents["split"] == split)[batch.indices]
        posterior = method.encode(batch.x / 255)
        assert latents["keys"][rows].tolist() == batch.keys
        assert np.array_equal(latents["factor_way"][rows], batch.factors["way"])
        assert latents["static"][rows] == pytest.approx(posterior.static.mean.detach().numpy(), abs=1e-5)
        assert latents["dynamic"][rows] == pytest.approx(posterior.dynamic.mean.detach().numpy(), abs=1e-5)


def test_the_file_is_the_same_bytes_again_and_a_split_is_its_part(run: Path, data: Path, tmp_path: Path) -> None:
    whole, again, part = (tmp_path / f"{name}.npz" for name in ("whole", "again", "part"))
    assert encode(run, data, whole) == encode(run, data, again) == 0
    assert whole.read_bytes() == again.read_bytes()
    assert encode(run, data, part, "--split", "val", "--factors", "shade") == 0
    everything, only = np.load(whole), np.load(part)
    val = everything["split"] == "val"
    assert set(only) == {"static", "dynamic", "keys", "split", "factor_shade"}
    for name in only:
        assert np.array_equal(only[name], everything[name][val])


def test_the_probe_of_the_documents_learns_on_train_and_is_scored_on_val(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The synthetic latents reveal the hair, except in every fourth clip of val."""
    hair = np.arange(90) % 3
    shown = np.where((np.arange(90) >= 50) & (np.arange(90) % 4 == 0), (hair + 1) % 3, hair)
    noise = np.random.default_rng(0).normal(scale=0.01, size=(90, 3))
    monkeypatch.chdir(tmp_path)
    np.savez("latents.npz", static=np.eye(3)[shown] + noise, factor_hair=hair, split=["train"] * 50 + ["val"] * 40)
    (code,) = re.findall(r"^```python\n(.*?)^```", PROBE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    exec(compile(code, "docs", "exec"), {})
    assert capsys.readouterr().out == "hair from s: 75.0%\n"


def test_segments_are_scaled_and_encoded(tmp_path: Path) -> None:
    prepare(ToySpeech(), tmp_path / "speech")
    scale = scale_of(ToySpeech().info.features)
    run = save_run(tmp_path / "run", (N_MELS,), scale)
    assert encode(run, tmp_path / "speech", tmp_path / "latents.npz", "--split", "val") == 0
    latents = np.load(tmp_path / "latents.npz")
    (batch,) = SequenceStream(tmp_path / "speech" / "val", 1000)
    method: Any = Run.load(run).method
    static = method.encode(scale(batch.x)).static.mean.detach().numpy()
    assert latents["static"][batch.indices] == pytest.approx(static, abs=1e-5)


def test_bad_input_is_an_error_in_one_sentence(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "latents.npz"

    def error(run: Path, data: Path, *options: str) -> str:
        assert encode(run, data, out, *options) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "it is not the --out of a training" in error(tmp_path, data)
    assert "it has no train, val or test" in error(run, tmp_path)
    options = ["--split", "test", "--factors", "hair"]
    assert "test has no factor hair: it has shade, way, path" in error(run, data, *options)
    colour = save_run(tmp_path / "colour", (3, 16, 16))
    assert "frames are [1, 16, 16], the model was built for [3, 16, 16]" in error(colour, data)
    run_of(tmp_path / "generator", SquareGenerator(), name="square_models.SquareGenerator")
    assert "no installed package registers a model" in error(tmp_path / "generator", data)
    lacking = error(tmp_path / "generator", data, "--trust-code")
    assert "SquareGenerator has no encode, which latents need" in lacking
    (tmp_path / "empty" / "val").mkdir(parents=True)
    assert "has no manifest.json" in error(run, tmp_path / "empty")
    assert encode(run, data, out, "--split", "everything") == 2
    assert not out.exists()
