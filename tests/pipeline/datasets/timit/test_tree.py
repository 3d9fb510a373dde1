import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from timit_trees import PEOPLE, write_tree

from seqviews.pipeline.datasets.timit.tree import CORE_TEST, DEV, assign_splits, find_utterances, is_standard

SENTENCES = ("SI7", "SX37", "SX8")
NAMES = sorted(f"{part}/{home}/{s}".lower() for part, homes in PEOPLE.items() for home in homes for s in SENTENCES)


@pytest.mark.parametrize("level", ["", "TIMIT", "data", "timit/timit", "TIMIT/data"])
@pytest.mark.parametrize("form", ["upper", "lower", "double"])
def test_every_form_of_the_tree_has_the_same_utterances(tmp_path: Path, level: str, form: str) -> None:
    suffix = ".WAV.wav" if form == "double" else ".WAV"
    write_tree(tmp_path / "x" / level, lower=form == "lower", suffix=suffix)
    tree = find_utterances(tmp_path / "x")
    assert [utterance.name for utterance in tree.utterances] == NAMES
    assert (tree.left_out, tree.skipped) == ({"sa": 10}, ())
    assert all(u.file.name.lower().startswith(u.sentence + ".wav") for u in tree.utterances)


def test_sa_sentences_and_second_copies(tmp_path: Path) -> None:
    tree = find_utterances(write_tree(tmp_path), keep_sa=True)
    assert (len(tree.utterances), tree.left_out) == (25, {})
    write_tree(tmp_path, riff=True, suffix=".WAV.wav")
    tree = find_utterances(tmp_path)
    assert [utterance.name for utterance in tree.utterances] == NAMES
    assert tree.left_out == {"sa": 20, "second_copies": 15}


def test_other_files_and_folders_are_skipped_by_name(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ({"TRAIN": ["DR1/FCJF0"], "TEST": ["DR2/FCJF0"]}, "fcjf0 is in .*TEST/DR2/FCJF0 and in .*TRAIN/DR1/FCJF0"),
        ({}, r"has no sentences of speakers in T"),
        ({"TRAIN": ["DR1/FCJF0"]}, r"has no sentences of speakers in TEST"),
        ({"TEST": ["DR1/FCJF0"]}, r"has no sentences of speakers in TRAIN"),
    ],
)
def test_trees_that_are_rejected(tmp_path: Path, people: dict[str, list[str]], message: str) -> None:
    tmp_path.joinpath("x").mkdir()
    with pytest.raises(ValueError, match=message):
        find_utterances(write_tree(tmp_path / "x", people))


@pytest.fixture
def unreadable() -> Iterator[Path]:
    """A tree whose folder FCJF0 has no read permission, in a process without the rights of root."""
    folder, user = Path(tempfile.mkdtemp()), os.geteuid()  # its parents are open to all users
    folder.chmod(0o755)
    (write_tree(folder) / "TRAIN/DR1/FCJF0").chmod(0)
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    (folder / "TRAIN/DR1/FCJF0").chmod(0o755)
    shutil.rmtree(folder)


def test_a_folder_that_cannot_be_read_is_an_error(unreadable: Path) -> None:
    with pytest.raises(PermissionError, match="FCJF0"):
        find_utterances(unreadable)
    with pytest.raises(OSError, match="nowhere"):
        find_utterances(unreadable / "nowhere")


def test_the_standard_lists(shared_data: Path) -> None:
    for name, speakers in [("dev", DEV), ("core_test", CORE_TEST)]:
        assert sorted(speakers) == sorted((shared_data / "timit-splits" / f"{name}.txt").read_text().split())


def test_the_standard_splits_if_all_speakers_are_present(tmp_path: Path) -> None:
    """All 74 standard speakers, three for training and two others in TEST; then without one of them."""
    test = [f"DR{i % 8 + 1}/{name.upper()}" for i, name in enumerate(sorted(DEV | CORE_TEST))]
    people = {"TRAIN": PEOPLE["TRAIN"], "TEST": [*test, "DR1/FZZZ0", "DR1/MZZZ0"]}
    splits = assign_splits(find_utterances(write_tree(tmp_path, people, sentences=["SX1"])))
    assert is_standard(splits)
    assert sorted(s for s in splits if splits[s] == "train") == ["fcjf0", "mabc1", "mxyz0"]
    assert {"fzzz0", "mzzz0"}.isdisjoint(splits)
    shutil.rmtree(tmp_path / "TEST/DR1/FZZZ0")
    shutil.rmtree(next(tmp_path.rglob("FDHC0")))
    splits = assign_splits(find_utterances(tmp_path))
    assert not is_standard(splits)
    assert [list(splits.values()).count(split) for split in ("test", "val")] == [74, 1]


def test_a_tenth_of_training_by_seed(tmp_path: Path) -> None:
    people = {"TRAIN": [f"DR1/F{chr(65 + i)}BC0" for i in range(26)], "TEST": ["DR1/MABC0"]}
    tree = find_utterances(write_tree(tmp_path, people, sentences=["SX1"]))
    chosen = [{s for s, split in assign_splits(tree, seed).items() if split == "val"} for seed in range(20)]
    assert all(len(speakers) == 3 for speakers in chosen)
    assert len(set.union(*chosen)) > 15
    assert assign_splits(tree, 3) == assign_splits(tree, 3)
