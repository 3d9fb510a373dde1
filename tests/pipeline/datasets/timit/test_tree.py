from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from timit_trees import PEOPLE, write_tree

from seqviews.pipeline.datasets.timit.tree import CORE_TEST, DEV, assign_splits, find_utterances, is_standard

NAMES = [
    f"{part}/{home}/{sentence}".lower()
    for part, homes in PEOPLE.items()
    for home in homes
    for sentence in ("SI7", "SX37", "SX8")
]


@pytest.mark.parametrize("level", ["", "TIMIT", "data", "timit/timit", "TIMIT/data"])
@pytest.mark.parametrize("form", ["upper", "lower", "double"])
def test_finds_the_same_in_every_form(tmp_path: Path, level: str, form: str) -> None:
    suffix = ".WAV.wav" if form == "double" else ".WAV"
    write_tree(tmp_path / "x" / level, lower=form == "lower", suffix=suffix)
    tree = find_utterances(tmp_path / "x")
    assert [utterance.name for utterance in tree.utterances] == sorted(NAMES)
    assert (tree.left_out, tree.skipped) == ({"sa": 10}, ())
    assert all(u.file.name.lower().startswith(u.sentence + ".wav") for u in tree.utterances)


def test_keeps_sa_if_asked(tmp_path: Path) -> None:
    tree = find_utterances(write_tree(tmp_path), keep_sa=True)
    assert len(tree.utterances) == 25
    assert tree.left_out == {}


def test_an_utterance_in_two_containers_counts_once(tmp_path: Path) -> None:
    write_tree(tmp_path)
    write_tree(tmp_path, riff=True, suffix=".WAV.wav")
    tree = find_utterances(tmp_path)
    assert [utterance.name for utterance in tree.utterances] == sorted(NAMES)
    assert tree.left_out == {"sa": 20, "second_copies": 15}


def test_what_does_not_belong_there_is_named(tmp_path: Path) -> None:
    write_tree(tmp_path)
    (tmp_path / "TRAIN/DR9/FAAA0").mkdir(parents=True)
    (tmp_path / "TRAIN/DR1/NOBODY").mkdir()
    (tmp_path / "TRAIN/DR1/FCJF0/._SX37.WAV").write_bytes(b"")
    (tmp_path / "TRAIN/DR1/readme.txt").write_text("")
    tree = find_utterances(tmp_path)
    assert len(tree.utterances) == len(NAMES)
    assert [skip.path.name for skip in tree.skipped] == ["._SX37.WAV", "NOBODY", "DR9"]
    assert {skip.fault for skip in tree.skipped} == {"unknown"}
    assert all(str(skip.path) in skip.message for skip in tree.skipped)


def test_a_speaker_in_both_splits(tmp_path: Path) -> None:
    write_tree(tmp_path, {"TRAIN": ["DR1/FCJF0"], "TEST": ["DR2/FCJF0"]})
    with pytest.raises(ValueError, match=r"speaker fcjf0 is in .*TEST/DR2/FCJF0 and in .*TRAIN/DR1/FCJF0"):
        find_utterances(tmp_path)


@pytest.mark.parametrize("people", [{}, {"TRAIN": ["DR1/FCJF0"]}, {"TEST": ["DR1/FCJF0"]}])
def test_a_tree_without_speakers(tmp_path: Path, people: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match=r"has no sentences of speakers in T"):
        find_utterances(write_tree(tmp_path, people))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        find_utterances(tmp_path / "nowhere")


@pytest.fixture
def unreadable() -> Iterator[Path]:
    """A tree in which the folder of FCJF0 may not be read, and this process without the rights of root."""
    folder, user = Path(tempfile.mkdtemp()), os.geteuid()  # everybody may enter its parents
    folder.chmod(0o755)
    (write_tree(folder) / "TRAIN/DR1/FCJF0").chmod(0)
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    (folder / "TRAIN/DR1/FCJF0").chmod(0o755)
    shutil.rmtree(folder)


def test_a_folder_that_may_not_be_read_is_an_error(unreadable: Path) -> None:
    with pytest.raises(PermissionError, match="FCJF0"):
        find_utterances(unreadable)


def standard_tree(folder: Path) -> Path:
    """All 74 standard speakers, three for training and two others in TEST."""
    test = [f"DR{i % 8 + 1}/{name.upper()}" for i, name in enumerate(sorted(DEV | CORE_TEST))]
    people = {"TRAIN": PEOPLE["TRAIN"], "TEST": [*test, "DR1/FZZZ0", "DR1/MZZZ0"]}
    return write_tree(folder, people, sentences=["SX1"])


def test_the_standard_lists(shared_data: Path) -> None:
    for name, speakers in [("dev", DEV), ("core_test", CORE_TEST)]:
        assert sorted(speakers) == sorted((shared_data / "timit-splits" / f"{name}.txt").read_text().split())


def test_the_standard_splits_if_all_the_speakers_are_there(tmp_path: Path) -> None:
    tree = find_utterances(standard_tree(tmp_path))
    splits = assign_splits(tree)
    assert is_standard(splits)
    assert sorted(s for s in splits if splits[s] == "train") == ["fcjf0", "mabc1", "mxyz0"]
    assert {"fzzz0", "mzzz0"}.isdisjoint(splits)
    shutil.rmtree(tmp_path / "TEST/DR1/FZZZ0")
    shutil.rmtree(next(tmp_path.rglob("FDHC0")))
    splits = assign_splits(find_utterances(tmp_path))
    assert not is_standard(splits)
    assert list(splits.values()).count("test") == 74
    assert list(splits.values()).count("val") == 1


def test_a_tenth_of_training_by_seed(tmp_path: Path) -> None:
    people = {"TRAIN": [f"DR1/F{chr(65 + i)}BC0" for i in range(26)], "TEST": ["DR1/MABC0"]}
    tree = find_utterances(write_tree(tmp_path, people, sentences=["SX1"]))
    chosen = [{s for s, split in assign_splits(tree, seed).items() if split == "val"} for seed in range(20)]
    assert all(len(speakers) == 3 for speakers in chosen)
    assert len(set.union(*chosen)) > 15
    assert assign_splits(tree, 3) == assign_splits(tree, 3)
