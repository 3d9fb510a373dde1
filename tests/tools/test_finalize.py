"""The tool `finalize`, and the options of the preparation tools that it completes."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tool_calls import Capsys, Failure, call, last_json
from toy_clips import digests
from toy_files import moving_square, write_csv, write_video

from seqviews.tools import finalize, prepare_folder, prepare_smmnist

DIGITS = [
    "--digits",
    "sklearn",
    "--workers",
    "1",
    "--clips",
    "8",
    "2",
    "0",
    "--size",
    "16",
    "--frames",
    "4",
    "--shard-sources",
    "2",
]


def test_parts_of_a_tool(tmp_path: Path, capsys: Capsys, failure: Failure, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(prepare_smmnist.main, *DIGITS, "--out", tmp_path / "one") == 0
    out = tmp_path / "out"
    assert call(prepare_smmnist.main, *DIGITS, "--out", out, "--part", "2/2") == 0
    line = failure(finalize.main, out, alone=False)
    assert f"{out}: 3 of 5 shards are missing or damaged, train/train-000000.tar, " in line
    assert line.endswith("run again --part 1/2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert call(prepare_smmnist.main, *DIGITS, "--out", out, "--part", "rank", "--json") == 0
    assert last_json(capsys.readouterr().out)["train"]["records"] == 4
    assert call(finalize.main, out, "--json") == 0
    assert last_json(capsys.readouterr().out)["train"]["records"] == 8
    assert digests(out) == digests(tmp_path / "one")
    assert "there is no part 3/2" in failure(prepare_smmnist.main, *DIGITS, "--out", out, "--part", "3/2", code=2)


def test_files_that_cannot_be_read_are_listed_and_retried(tmp_path: Path, capsys: Capsys, failure: Failure) -> None:
    """A damaged video is found in the survey already, and is a source all the same."""
    rows = [[f"{i}.mp4", "train", "ab"[i % 2]] for i in range(4)]
    for number, (name, *_) in enumerate(rows):
        write_video(tmp_path / name, moving_square(8, 16, 16, seed=number))
    whole = (tmp_path / "2.mp4").read_bytes()
    (tmp_path / "2.mp4").write_bytes(whole[: len(whole) // 2])
    csv = write_csv(tmp_path / "x.csv", ["path", "split", "letter"], *rows)
    options = ["--workers", 1, "--csv", csv, "--out", tmp_path / "out", "--size", 16, "--shard-sources", 2]
    assert "1 of the 4 files in the CSV cannot be used" in failure(prepare_folder.main, *options, alone=False)
    assert call(prepare_folder.main, *options, "--max-failures", "25%", "--json") == 0
    output = capsys.readouterr()
    (listed,) = last_json(output.out)["train"]["failures"]
    assert (listed["source"], listed["split"]) == ("2.mp4", "train")
    assert "left out: 2.mp4 of train: " in output.err
    assert last_json(output.out)["train"]["records"] == 3
    assert json.loads((tmp_path / "out" / "train" / "failures.json").read_text()) == {"failures": [listed]}
    (tmp_path / "2.mp4").write_bytes(whole)
    retry = ["--retry", tmp_path / "out" / "train" / "failures.json"]
    assert call(prepare_folder.main, *options, *retry, "--json") == 0
    summary = last_json(capsys.readouterr().out)["train"]
    assert (summary["records"], summary.get("failures")) == (4, None)
    assert not (tmp_path / "out" / "train" / "failures.json").exists()


def test_files_that_are_mended_one_after_another_have_the_shards_of_files_that_never_broke(tmp_path: Path) -> None:
    """The mean of the mels stays that of the files that the first survey could read."""
    rng, rows = np.random.default_rng(0), [[f"{i}.wav", "train", "ab"[i % 2]] for i in range(6)]
    for name, *_ in rows:
        soundfile.write(tmp_path / name, rng.normal(0, 0.1, 16_000).astype(np.float32), 16_000)
    csv = write_csv(tmp_path / "x.csv", ["path", "split", "letter"], *rows)
    options = ["--workers", 1, "--csv", csv, "--shard-sources", 2]
    assert call(prepare_folder.main, *options, "--out", tmp_path / "whole") == 0
    intact = {name: (tmp_path / name).read_bytes() for name in ("1.wav", "4.wav")}
    for name in intact:
        (tmp_path / name).write_bytes(b"RIFF")
    options += ["--out", tmp_path / "out", "--max-failures", 2]
    assert call(prepare_folder.main, *options) == 0
    failures = tmp_path / "out" / "train" / "failures.json"
    for left, (name, content) in zip((1, 0), intact.items(), strict=True):
        assert {f["source"] for f in json.loads(failures.read_text())["failures"]} == set(list(intact)[-left - 1 :])
        (tmp_path / name).write_bytes(content)
        assert call(prepare_folder.main, *options, "--retry", failures) == 0
        assert call(prepare_folder.main, *options) == 0  # a repetition changes nothing
    assert not failures.exists()
    for shard in (tmp_path / "whole" / "train").glob("*.tar"):
        assert (tmp_path / "out" / "train" / shard.name).read_bytes() == shard.read_bytes()


def test_a_file_that_breaks_after_the_first_survey_is_named(tmp_path: Path, failure: Failure) -> None:
    rows = [[f"{i}.wav", "train"] for i in range(3)]
    for name, _ in rows:
        soundfile.write(tmp_path / name, np.zeros(16_000, np.float32), 16_000)
    csv = write_csv(tmp_path / "x.csv", ["path", "split"], *rows)
    options = ["--workers", 1, "--csv", csv, "--out", tmp_path / "out", "--max-failures", 2]
    assert call(prepare_folder.main, *options) == 0
    (tmp_path / "2.wav").write_bytes(b"RIFF")
    assert "1 of the 3 files in the CSV cannot be used: line 4: " in failure(prepare_folder.main, *options, alone=False)


@pytest.mark.parametrize("unread", [5, ["0.wav"], {"0.wav": 1}, None])
def test_the_plan_of_somebody_else_is_another_preparation(tmp_path: Path, failure: Failure, unread: object) -> None:
    soundfile.write(tmp_path / "0.wav", np.zeros(16_000, np.float32), 16_000)
    csv = write_csv(tmp_path / "x.csv", ["path", "split"], ["0.wav", "train"])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "plan.json").write_text(json.dumps({"parameters": {"unread": unread}}))
    options = ["--workers", 1, "--csv", csv, "--out", tmp_path / "out"]
    assert "holds another preparation: " in failure(prepare_folder.main, *options, alone=False)
