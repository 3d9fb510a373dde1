import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tool_calls import Capsys, Failure, call, last_json
from toy_clips import ToyClips

from seqviews.pipeline.features import Features, MelFeatures
from seqviews.pipeline.manifest import DatasetInfo
from seqviews.pipeline.prepare.write import prepare, write_shards
from seqviews.pipeline.records import Segment
from seqviews.tools.check_shards import main


def test_a_sound_data_set(toy: Path, tmp_path: Path, capsys: Capsys) -> None:
    sheet = tmp_path / "sheet.png"
    assert call(main, toy, "--sheet", sheet, "--json") == 0
    output = capsys.readouterr()
    size = sum(path.stat().st_size for path in toy.rglob("*.tar"))
    assert last_json(output.out) == {"shards": 10, "records": 54, "bytes": size, "problems": []}
    for split, shards, records in (("train", "6", "36"), ("val", "2", "9"), ("test", "2", "9")):
        (row,) = [line for line in output.out.splitlines() if split in line]
        assert [cell.strip() for cell in row.strip("│").split("│")][:3] == [split, shards, records]
    assert "train: 6 of 6" in output.err.splitlines()
    assert Image.open(sheet).size[1] > 9 * 64  # three rows of each of three splits


def test_a_sheet_of_segments_has_low_frequencies_at_the_bottom(tmp_path: Path) -> None:
    features = Features.for_segments(20, MelFeatures((0.0,) * 80, (1.0,) * 80))

    def records(source: str, rng: np.random.Generator) -> Iterator[Segment]:
        yield Segment(source, np.tile(np.linspace(0, -9, 80, dtype=np.float32), (20, 1)), None, {}, source)

    info = DatasetInfo("speech", "CC0-1.0", "nobody", features, {}, {})
    write_shards({"train": ["a"]}, tmp_path / "speech", records, info)
    assert call(main, tmp_path / "speech", "--sheet", tmp_path / "sheet.png") == 0
    picture = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"), np.int16)
    (dark,) = np.nonzero(picture[:, 100] == 0)  # the highest band of the only segment
    column = picture[dark[0] : dark[0] + 160, 100]
    assert len(dark) == 2
    assert (np.diff(column) >= 0).all()
    assert column[-1] == 255


def test_damage_exits_with_1_and_reports_all_of_it(tmp_path: Path, capsys: Capsys, failure: Failure) -> None:
    prepare(ToyClips(), tmp_path / "toy", shard_sources=2)
    damaged = [tmp_path / "toy" / "train" / f"train-00000{i}.tar" for i in (1, 4)]
    damaged[0].write_bytes(damaged[0].read_bytes() + b"x")
    assert f"error: {damaged[0]}: has" in failure(main, tmp_path / "toy", "--fast", alone=False)
    damaged[1].unlink()
    assert call(main, tmp_path / "toy", "--json", "--sheet", tmp_path / "sheet.png") == 1
    output = capsys.readouterr()
    *_, first, second, last = output.err.splitlines()
    assert first.startswith(f"{damaged[0]}: has")
    assert second.startswith(f"{damaged[1]}: cannot be read")
    assert "2 problems" in last
    found = last_json(output.out)
    assert (found["problems"], found["records"]) == ([first, second], 54 - 2 * 6)
    assert not (tmp_path / "sheet.png").exists()


def test_wrong_arguments(toy: Path, tmp_path: Path, failure: Failure) -> None:
    assert call(main) == call(main, "ftp://bucket/toy") == call(main, toy, "--threads", "0") == 2
    for options, message in (
        ((tmp_path,), "is not a prepared data set"),
        ((toy, "--identity", "speaker"), "has no static factor speaker"),
        ((toy, "--identity", "shade", "--fast"), "give one of the two"),
        ((toy, "--sheet", tmp_path / "missing" / "sheet.png"), "No such file"),
    ):
        assert message in failure(main, *options, alone=False)


def test_without_matplotlib_a_sheet_is_an_error_before_the_work(
    toy: Path, failure: Failure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "seqviews.model.report.images", raising=False)
    assert "pip install 'seqviews[train]'" in failure(main, toy, "--sheet", "sheet.png")
