"""The tool on a small tree: what it reports, and what it leaves out."""

from pathlib import Path

from mug_trees import write_tree
from tool_calls import Capsys, Failure, call, last_json

from seqviews.pipeline.manifest import load_manifest
from seqviews.tools.prepare_mug import main


def test_all_is_counted(tmp_path: Path, capsys: Capsys, failure: Failure) -> None:
    tree = write_tree(tmp_path / "mug")
    options = ("--mug", tree, "--face", "centre", "--size", 16, "--min-frames", 6, "--workers", 2)
    lossy = ("--codec", "jpeg", "--quality", 90, "--page-frames", 4)
    assert call(main, *options, *lossy, "--out", tmp_path / "out", "--json") == 0
    printed = capsys.readouterr()
    report = last_json(printed.out)
    assert {split: report[split]["people"] for split in ("train", "val", "test")} == {"train": 2, "val": 1, "test": 1}
    assert sum(report[split]["takes"] for split in ("train", "val", "test")) == 4 * 5
    left_out = {"neutral": 4, "other_expressions": 0, "other_names": 0, "skipped": {"short": 4}, "no_face_found": 0}
    assert report["left_out"] == left_out
    assert "skipped (short)" in printed.err
    manifest = load_manifest(tmp_path / "out" / "train")
    features = manifest.dataset.features
    assert (features.codec, features.quality, features.page_frames, features.frames) == ("jpeg", 90, 4, (6, 10))
    assert manifest.parameters["left_out"] == left_out
    assert len(manifest.parameters["splits"]["train"]) == 2
    message = failure(main, *options, "--strict", "--out", tmp_path / "strict", alone=False)
    assert "has 5 pictures, fewer than 6; 3 more takes have a fault" in message
    assert "quality 200" in failure(main, *options, *lossy[:2], "--quality", 200, "--out", tmp_path / "q", alone=False)
