from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from timit_trees import samples_of, sphere, write_tree
from toy_clips import digests

from seqviews.augment.world import VoiceConverter
from seqviews.pipeline.datasets.timit.tree import CORE_TEST, DEV
from seqviews.pipeline.manifest import load_manifest
from seqviews.pipeline.sources.audio import log_mel
from seqviews.pipeline.stream.stream import SequenceStream
from seqviews.tools.prepare_timit import main

TOOL = Path(__file__).resolve().parents[2] / "tools" / "prepare_timit.py"
FEW = {"TRAIN": ["DR1/FCJF0", "DR2/MABC1"], "TEST": ["DR3/FDHC0"]}


def run(*options: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(option) for option in ("--workers", 1, *options)])
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "timit", FEW)


def test_says_what_was_written_left_out_and_skipped(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "TEST/DR3/FDHC0/SX8.WAV").write_bytes(sphere(samples_of("x"), channel_count="-i 2"))
    out = tmp_path / "out"
    assert run("--timit", tree, "--out", out, "--voices", 1, "--shard-sources", 2, "--json") == 0
    output = capsys.readouterr()
    summary = json.loads(output.out.splitlines()[-1])
    assert summary["splits"] == "a tenth of TRAIN is val"
    assert [summary[split]["utterances"] for split in ("train", "val", "test")] == [3, 3, 2]
    assert [summary[split]["shards"] for split in ("train", "val", "test")] == [2, 2, 1]
    for split in ("train", "val", "test"):
        manifest = load_manifest(out / split)
        assert summary[split]["records"] == len(manifest)
        assert manifest.dataset.features.mel is not None
        assert manifest.dataset.features.mel.voices == 1
        assert manifest.parameters["left_out"] == summary["left_out"]
    assert summary["left_out"]["sa"] == 6
    assert summary["left_out"]["skipped"] == {"damaged": 1}
    lines = output.err.splitlines()
    assert "utterances read: 9 of 9" in lines
    assert any(line.startswith("skipped (damaged): ") and "SX8.WAV is cut short" in line for line in lines)
    hours = f"{summary['train']['hours']:g}"
    assert f"train, hours of speech: {hours} of {hours}" in lines


def test_the_voices_are_those_of_the_converter(tree: Path, tmp_path: Path) -> None:
    assert run("--timit", tree, "--out", tmp_path / "out", "--voices", 2) == 0
    manifest = load_manifest(tmp_path / "out" / "test")
    assert manifest.parameters["converter"]["warp"] == list(VoiceConverter().warp)
    assert manifest.parameters["converter"]["f0_method"] == "dio"
    stored: dict[str, NDArray[np.float32]] = {}
    for batch in SequenceStream(tmp_path / "out" / "test", 4):
        assert batch.converted is not None
        stored |= zip(batch.keys, batch.converted.float().numpy(), strict=True)
    stream = (0, 2, 1 + 1)  # seed, split, and one more than the place among si7, sx37, sx8
    seeds = np.random.default_rng(stream).integers(0, 1 << 63, 2).tolist()
    wave = samples_of("test/dr3/fdhc0/sx37").astype(np.float32) / 32768
    for voice, other in enumerate(VoiceConverter()(wave, seeds)):
        np.testing.assert_allclose(stored["fdhc0-sx37-0001"][voice], log_mel(other)[20:40], atol=0.01)


@pytest.mark.slow
def test_two_workers_write_the_same_bytes_and_a_second_call_nothing(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--timit", tree, "--voices", 1, "--shard-sources", 1]
    assert run(*options, "--out", tmp_path / "one") == 0
    assert run(*options, "--out", tmp_path / "two", "--workers", 2) == 0
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tar")}
    assert run(*options, "--out", tmp_path / "one") == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tar")} == before
    capsys.readouterr()
    assert run(*options, "--out", tmp_path / "one", "--keep-sa") == 1
    assert "holds another preparation" in capsys.readouterr().err


def test_the_standard_splits(tmp_path: Path) -> None:
    test = [f"DR{i % 8 + 1}/{name.upper()}" for i, name in enumerate(sorted(DEV | CORE_TEST))]
    people = {"TRAIN": FEW["TRAIN"], "TEST": [*test, "DR1/FZZZ0"]}
    write_tree(tmp_path / "timit", people, sentences=["SA1", "SX1", "SI2"])
    assert run("--timit", tmp_path / "timit", "--out", tmp_path / "out", "--voices", 0) == 0
    manifests = {split: load_manifest(tmp_path / "out" / split) for split in ("train", "val", "test")}
    assert {m.parameters["splits"] for m in manifests.values()} == {"standard"}
    assert {m.parameters["left_out"]["not_in_a_split"] for m in manifests.values()} == {2}
    speakers = {
        split: {key.split("-")[0] for batch in SequenceStream(tmp_path / "out" / split, 32) for key in batch.keys}
        for split in manifests
    }
    assert speakers == {"train": {"fcjf0", "mabc1"}, "val": set(DEV), "test": set(CORE_TEST)}


def test_strict_makes_a_skip_an_error(tree: Path, tmp_path: Path) -> None:
    path = tree / "TRAIN/DR1/FCJF0/SX8.WAV"
    path.write_bytes(sphere(samples_of("x"), sample_coding="-s26 pcm,embedded-shorten-v2.00"))
    options = ["--timit", str(tree), "--out", str(tmp_path / "out"), "--strict"]
    done = subprocess.run([sys.executable, TOOL, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert f"error: {path} is compressed by shorten: write it out first with sph2pipe" in line
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_timit_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--timit", tmp_path, "--out", tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "has no sentences of speakers in TRAIN" in line


@pytest.mark.parametrize("options", [[], ["--timit", "x"], ["--timit", "x", "--out", "ftp://b/c"]])
def test_wrong_arguments_exit_with_2(capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    assert run(*options) == 2
    assert "usage:" in capsys.readouterr().err


def test_the_pitch_is_found_as_asked(tree: Path, tmp_path: Path) -> None:
    options = ["--timit", tree, "--out", tmp_path / "out", "--voices", 1, "--f0-method", "harvest"]
    assert run(*options) == 0
    assert load_manifest(tmp_path / "out" / "test").parameters["converter"]["f0_method"] == "harvest"


def test_numbers_out_of_bounds(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--timit", tree, "--out", tmp_path / "out", "--segment-frames", 0) == 1
    assert "at least 1 frame" in capsys.readouterr().err
