from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from timit_trees import samples_of, sphere, write_tree
from tool_calls import Capsys, call, last_json

from seqviews.augment.world import VoiceConverter
from seqviews.pipeline.datasets.timit.tree import CORE_TEST, DEV
from seqviews.pipeline.manifest import SPLITS, load_manifest
from seqviews.pipeline.sources.audio import log_mel
from seqviews.pipeline.stream.stream import SequenceStream
from seqviews.tools.prepare_timit import main

FEW = {"TRAIN": ["DR1/FCJF0", "DR2/MABC1"], "TEST": ["DR3/FDHC0"]}


def run(*options: object) -> int:
    return call(main, "--workers", 1, *options)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "timit", FEW)


def test_reports_what_was_written_left_out_and_skipped(tree: Path, tmp_path: Path, capsys: Capsys) -> None:
    (tree / "TEST/DR3/FDHC0/SX8.WAV").write_bytes(sphere(samples_of("x"), channel_count="-i 2"))
    out = tmp_path / "out"
    options = ["--voices", 1, "--f0-method", "harvest", "--shard-sources", 2, "--json"]
    assert run("--timit", tree, "--out", out, *options) == 0
    output = capsys.readouterr()
    summary = last_json(output.out)
    assert summary["splits"] == "a tenth of TRAIN is val"
    assert [summary[split]["utterances"] for split in SPLITS] == [3, 3, 2]
    assert [summary[split]["shards"] for split in SPLITS] == [2, 2, 1]
    for split in SPLITS:
        manifest = load_manifest(out / split)
        assert summary[split]["records"] == len(manifest)
        assert manifest.dataset.features.mel is not None
        assert manifest.dataset.features.mel.voices == 1
        assert manifest.parameters["left_out"] == summary["left_out"]
        assert manifest.parameters["converter"]["f0_method"] == "harvest"
    assert summary["left_out"]["sa"] == 6
    assert summary["left_out"]["skipped"] == {"damaged": 1}
    lines = output.err.splitlines()
    assert "utterances read: 9 of 9" in lines
    assert any(line.startswith("skipped (damaged): ") and "SX8.WAV is truncated" in line for line in lines)
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
    stream = (0, 2, 1 + 1)  # seed, split, and one more than the index among si7, sx37, sx8
    seeds = np.random.default_rng(stream).integers(0, 1 << 63, 2).tolist()
    wave = samples_of("test/dr3/fdhc0/sx37").astype(np.float32) / 32768
    for voice, converted in enumerate(VoiceConverter()(wave, seeds)):
        np.testing.assert_allclose(stored["fdhc0-sx37-0001"][voice], log_mel(converted)[20:40], atol=0.01)


def test_the_standard_splits(tmp_path: Path) -> None:
    test = [f"DR{i % 8 + 1}/{name.upper()}" for i, name in enumerate(sorted(DEV | CORE_TEST))]
    people = {"TRAIN": FEW["TRAIN"], "TEST": [*test, "DR1/FZZZ0"]}
    write_tree(tmp_path / "timit", people, sentences=["SA1", "SX1", "SI2"])
    assert run("--timit", tmp_path / "timit", "--out", tmp_path / "out", "--voices", 0) == 0
    for split, expected in {"train": {"fcjf0", "mabc1"}, "val": DEV, "test": CORE_TEST}.items():
        parameters = load_manifest(tmp_path / "out" / split).parameters
        assert (parameters["splits"], parameters["left_out"]["not_in_a_split"]) == ("standard", 2)
        assert {k.split("-")[0] for b in SequenceStream(tmp_path / "out" / split, 32) for k in b.keys} == expected
