import re
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from square_models import SquareGenerator
from tool_calls import Capsys, Failure, call, last_json
from toy_speech import N_MELS, SCALE
from untrained import run_of, save_run

from seqviews.model.protocol import Encoder
from seqviews.model.scaling import PixelScale, Scale
from seqviews.model.train.runs import Run
from seqviews.pipeline.stream.stream import SequenceStream
from seqviews.tools.encode import main

PROBE = Path(__file__).parents[2] / "docs" / "latents.md"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("runs") / "run")


def encode(run: Path, data: Path, out: Path, *options: object) -> int:
    return call(main, "--run", run, "--data", data, "--out", out, *options)


def check_split(out: Path, run: Path, split: Path, scale: Scale, factor: str) -> int:
    """Compare the rows of a split with one batch of it, and return their number."""
    latents, method = np.load(out, allow_pickle=False), Run.load(run).method
    (batch,) = SequenceStream(split, 200, factors=(factor,))
    posterior = cast(Encoder, method).encode(scale(batch.x))
    rows = np.flatnonzero(latents["split"] == split.name)[batch.indices]
    assert latents["keys"][rows].tolist() == batch.keys
    assert np.array_equal(latents[f"factor_{factor}"][rows], batch.factors[factor])
    assert latents["static"][rows] == pytest.approx(posterior.static.mean.detach().numpy(), abs=1e-5)
    assert latents["dynamic"][rows] == pytest.approx(posterior.dynamic.mean.detach().numpy(), abs=1e-5)
    return len(rows)


def test_all_splits_in_one_file_without_pickle(run: Path, few_squares: Path, tmp_path: Path, capsys: Capsys) -> None:
    out = tmp_path / "latents.npz"
    assert encode(run, few_squares, out, "--json") == 0
    counts = {"train": 64, "val": 16, "test": 24}
    assert last_json(capsys.readouterr().out) == {"latents": str(out), "clips": counts}
    latents = np.load(out, allow_pickle=False)
    assert set(latents) == {"static", "dynamic", "keys", "split", "factor_shade", "factor_way", "factor_path"}
    assert latents["split"].tolist() == [split for split, count in counts.items() for _ in range(count)]
    assert [check_split(out, run, few_squares / split, PixelScale(), "way") for split in counts] == [*counts.values()]


def test_segments_are_scaled_and_encoded(speech: Path, tmp_path: Path) -> None:
    run, out = save_run(tmp_path / "run", (N_MELS,), SCALE), tmp_path / "latents.npz"
    assert encode(run, speech, out, "--split", "test") == 0
    assert check_split(out, run, speech / "test", SCALE, "speaker") == len(np.load(out)["keys"]) == 116


def test_the_file_is_the_same_bytes_again_and_a_split_is_its_part(run: Path, few_squares: Path, tmp_path: Path) -> None:
    whole, again, part = (tmp_path / f"{name}.npz" for name in ("whole", "again", "part"))
    assert encode(run, few_squares, whole) == encode(run, few_squares, again) == 0
    assert whole.read_bytes() == again.read_bytes()
    assert encode(run, few_squares, part, "--split", "val", "--factors", "shade") == 0
    everything, only = np.load(whole), np.load(part)
    assert set(only) == {"static", "dynamic", "keys", "split", "factor_shade"}
    for name in only:
        assert np.array_equal(only[name], everything[name][everything["split"] == "val"])


def test_the_probe_of_the_documents_learns_on_train_and_is_scored_on_val(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
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


def test_bad_input_is_an_error_in_one_sentence(run: Path, few_squares: Path, tmp_path: Path, failure: Failure) -> None:
    out = tmp_path / "latents.npz"

    def error(run: Path, data: Path, *options: object) -> str:
        return failure(main, "--run", run, "--data", data, "--out", out, *options)

    assert "it has no train, val or test" in error(run, tmp_path)
    lacking = error(run, few_squares, "--split", "test", "--factors", "hair")
    assert "test has no factor hair: it has shade, way, path" in lacking
    colour = save_run(tmp_path / "colour", (3, 16, 16))
    assert "frames are [1, 16, 16], the model was built for [3, 16, 16]" in error(colour, few_squares)
    run_of(tmp_path / "generator", SquareGenerator(), name="square_models.SquareGenerator")
    assert "no installed package registers a model" in error(tmp_path / "generator", few_squares)
    lacking = error(tmp_path / "generator", few_squares, "--trust-code")
    assert "SquareGenerator has no encode, which latents need" in lacking
    assert encode(run, few_squares, out, "--split", "everything") == 2
    assert not out.exists()
