"""What a preparation of speech is measured by, on a tree small enough to know."""

from pathlib import Path

import numpy as np
import pytest
from timit_trees import PEOPLE, SENTENCES, samples_of, write_tree

from seqviews.tools.benchmarks.speech import RATE, WORKERS, bench_speech


def test_the_ratio_is_of_what_was_prepared(tmp_path: Path) -> None:
    names = [f"{part}/{home}/{s}" for part, homes in PEOPLE.items() for home in homes for s in SENTENCES]
    samples = sum(len(samples_of(name)) for name in names if "/SA" not in name)
    held = np.ones(100_000_000)  # 0.8 GB of this process, and of none of the preparation
    found = bench_speech(write_tree(tmp_path / "TIMIT"))
    assert held.all()
    assert found["speech_seconds"] == round(samples / RATE)
    assert set(found["call_seconds"]) == {"pitch", "envelope", "aperiodicity", "synthesis", "mels"}
    assert all(seconds >= 0 for seconds in found["call_seconds"].values())
    calls = sum(found["call_seconds"].values())
    assert found["ratio"] == pytest.approx(found["prepare_seconds"] / (calls / WORKERS), rel=0.05)  # of rounded seconds
    assert 50 < found["largest_process_mb"] < 600


def test_a_folder_without_speech(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="TRAIN"):
        bench_speech(tmp_path)
