"""Takes of MUG: what is found in a tree, and what is left out."""

from pathlib import Path

import pytest
from mug_trees import write_take, write_tree

from seqviews.pipeline.datasets.mug_takes import find_takes


def test_takes_are_found_with_and_without_the_outer_folder_and_the_others_counted(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "mug" / "subjects3").parent
    for name in ("001/anger/take1", "001/anger/take\uff10\uff10\uff10", "002/boredom/take000"):
        write_take(tree / "subjects3" / name, [])
    (tree / "subjects3" / "readme.txt").write_text("")
    (tree / "subjects3" / "series").mkdir()
    for folder in (tree, tree / "subjects3"):
        found = find_takes(folder)
        assert [take.name for take in found.takes][:2] == ["001/anger/take000", "001/disgust/take000"]
        assert len(found.takes) == 4 * 6
        assert found.left_out == {"neutral": 4, "other_expressions": 1, "other_names": 2}
    assert len(find_takes(tree, keep_neutral=True).takes) == 4 * 7
    (tree / "again").symlink_to(tree / "subjects3")
    with pytest.raises(ValueError, match=r"person 001 is in .*again/001 and in .*subjects3/001"):
        find_takes(tree)
    with pytest.raises(ValueError, match="has no takes: --mug is the folder with"):
        find_takes(tree / "subjects3" / "001")
