from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy_clips import ToyClips

from seqviews.pipeline.manifest import DatasetInfo, Features, MelFeatures
from seqviews.pipeline.prepare.write import prepare, write_shards
from seqviews.pipeline.records import Segment
from seqviews.tools.check_shards import main


def check(*options: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(option) for option in options])
    return int(stopped.value.code or 0)


def test_a_sound_data_set(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = tmp_path / "sheet.png"
    assert check(toy, "--sheet", sheet, "--json") == 0
    output = capsys.readouterr()
    size = sum(path.stat().st_size for path in toy.rglob("*.tar"))
    assert json.loads(output.out.splitlines()[-1]) == {"shards": 10, "records": 54, "bytes": size, "problems": []}
    for split, shards, records in (("train", "6", "36"), ("val", "2", "9"), ("test", "2", "9")):
        (row,) = [line for line in output.out.splitlines() if split in line]
        assert [cell.strip() for cell in row.strip("│").split("│")][:3] == [split, shards, records]
    assert "train: 6 of 6" in output.err.splitlines()
    picture = Image.open(sheet)
    assert picture.size[1] > 9 * 64  # three rows of each of three splits


def test_a_sheet_of_segments_has_low_frequencies_at_the_bottom(tmp_path: Path) -> None:
    features = Features.for_segments(20, MelFeatures((0.0,) * 80, (1.0,) * 80))

    def records(source: str, rng: np.random.Generator) -> Iterator[Segment]:
        yield Segment(source, np.tile(np.linspace(0, -9, 80, dtype=np.float32), (20, 1)), None, {}, source)

    info = DatasetInfo("speech", "CC0-1.0", "nobody", features, {}, {})
    write_shards({"train": ["a"]}, tmp_path / "speech", records, info)
    assert check(tmp_path / "speech", "--sheet", tmp_path / "sheet.png") == 0
    picture = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"), np.int16)
    (dark,) = np.nonzero(picture[:, 100] == 0)  # the highest band of the only segment
    column = picture[dark[0] : dark[0] + 160, 100]
    assert len(dark) == 2
    assert (np.diff(column) >= 0).all()
    assert column[-1] == 255


def test_damage_exits_with_1_and_tells_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(ToyClips(), tmp_path / "toy", shard_sources=2)
    damaged = [tmp_path / "toy" / "train" / f"train-00000{i}.tar" for i in (1, 4)]
    damaged[0].write_bytes(damaged[0].read_bytes() + b"x")
    assert check(tmp_path / "toy", "--fast") == 1
    assert f"error: {damaged[0]}: has" in capsys.readouterr().err.splitlines()[-1]
    damaged[1].unlink()
    assert check(tmp_path / "toy", "--json", "--sheet", tmp_path / "sheet.png") == 1
    output = capsys.readouterr()
    *_, first, second, last = output.err.splitlines()
    assert first.startswith(f"{damaged[0]}: has")
    assert second.startswith(f"{damaged[1]}: cannot be read")
    assert "2 problems" in last
    told = json.loads(output.out.splitlines()[-1])
    assert told["problems"] == [first, second]
    assert told["records"] == 54 - 2 * 6
    assert not (tmp_path / "sheet.png").exists()


def test_wrong_arguments(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check() == 2
    assert check("ftp://bucket/toy") == 2
    assert check(toy, "--threads", "0") == 2
    for options, message in (
        ((tmp_path,), "is not a prepared data set"),
        ((toy, "--identity", "speaker"), "has no static factor speaker"),
        ((toy, "--identity", "shade", "--fast"), "give one of the two"),
        ((toy, "--sheet", tmp_path / "missing" / "sheet.png"), "No such file"),
    ):
        capsys.readouterr()
        assert check(*options) == 1
        assert message in capsys.readouterr().err.splitlines()[-1]


def test_without_matplotlib_the_sheet_is_refused_before_the_work(
    toy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "seqviews.model.report.images", raising=False)
    assert check(toy, "--sheet", "sheet.png") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'seqviews[train]'" in line
