from __future__ import annotations

from pathlib import Path

import pytest
from toy_files import write_csv

from seqviews.pipeline.datasets.csv_index import read_index


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.MOV", "c.mkv", "d.wav", "e.FLAC"):
        (tmp_path / name).touch()
    (tmp_path / "frames").mkdir()
    return tmp_path


def test_rows_and_classes(folder: Path) -> None:
    path = write_csv(
        folder / "x.csv",
        ["kind", "path", "split", "person"],
        ["run", "a.mp4", "train", "Zoë"],
        ["jump", " b.MOV ", "val", "10"],
        ["run", str(folder / "c.mkv"), "test", "9"],
    )
    index = read_index(path)
    assert index.kind == "video"
    assert index.classes == {"kind": ["jump", "run"], "person": ["10", "9", "Zoë"]}
    assert [(row.line, row.file.name, row.split) for row in index.rows] == [
        (2, "a.mp4", "train"),
        (3, "b.MOV", "val"),
        (4, "c.mkv", "test"),
    ]
    assert [index.factors(row) for row in index.rows] == [
        {"kind": 1, "person": 2},
        {"kind": 0, "person": 0},
        {"kind": 1, "person": 1},
    ]


def test_a_spreadsheets_byte_order_mark_and_line_ends(folder: Path) -> None:
    (folder / "x.csv").write_bytes('\ufeffpath,split\r\na.mp4,train\r\n"b.MOV",val\r\n'.encode())
    assert [row.path for row in read_index(folder / "x.csv").rows] == ["a.mp4", "b.MOV"]


def test_paths_may_be_relative_to_another_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write_csv(tmp_path_factory.mktemp("else") / "x.csv", ["path", "split"], ["d.wav", "train"])
    with pytest.raises(ValueError, match=r"line 2: there is no .*d\.wav"):
        read_index(path)
    assert read_index(path, folder).rows[0].file == folder / "d.wav"


@pytest.mark.parametrize(
    ("names", "kind"), [(["a.mp4", "c.mkv"], "video"), (["d.wav", "e.FLAC"], "audio"), (["frames"], "frames")]
)
def test_the_kind_is_told_from_the_paths_or_given(folder: Path, names: list[str], kind: str) -> None:
    path = write_csv(folder / "x.csv", ["path", "split"], *([name, "train"] for name in names))
    assert read_index(path).kind == kind
    assert read_index(path, kind="audio").kind == "audio"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"has the columns \[\]"),
        ("path;split\na.mp4;train\n", "commas between the columns"),
        ("path,split\n", "lists no files"),
        ("path,split,Kind of\na.mp4,train,x\n", "column 'Kind of'"),
        ("path,split,kind,kind\na.mp4,train,x,x\n", "column 'kind'"),
        ("path,split,kind\na.mp4,train,x\n\nb.MOV,val,\n", "line 4: kind is empty"),
        ("path,split,kind\na.mp4,train,x\nb.MOV,val\n", "line 3: it has not as many cells as the header"),
        ("path,split\na.mp4,train,x\n", "line 2: it has not as many cells as the header"),
        ("path,split\na.mp4,dev\n", "line 2: the split 'dev' is none of train, val, test"),
        ("path,split\nz.mp4,train\n", r"line 2: there is no .*z\.mp4"),
        ("path,split\na.mp4,train\nb.MOV,val\n./a.mp4,test\n", r"lines 2 and 4 are the same file, \./a\.mp4"),
        ("path,split\na.mp4,train\nd.wav,val\n", "line 2 is video and line 3 is audio"),
        ("path,split,person\na.mp4,train,p\nb.MOV,val,q\nc.mkv,test,p\n", r"person p is in train .line 2. and in test"),
        (f"path,split,kind\na.mp4,train,{'x' * 201}\n", "line 2: kind has 201 characters"),
        ('path,split\n"a.mp4"x,train\n', "is not a CSV"),
        ("path,split\nM\xfcller.mp4,train\n", "is not a CSV in UTF-8"),
    ],
)
def test_mistakes_are_told_with_their_line(folder: Path, text: str, message: str) -> None:
    (folder / "x.csv").write_text(text, encoding="latin-1")
    identity = "person" if "person" in text else None
    with pytest.raises(ValueError, match=message) as caught:
        read_index(folder / "x.csv", identity=identity)
    assert "x.csv" in str(caught.value)


def test_an_identity_must_be_a_column(folder: Path) -> None:
    path = write_csv(folder / "x.csv", ["path", "split"], ["a.mp4", "train"])
    with pytest.raises(ValueError, match="has no column 'speaker'"):
        read_index(path, identity="speaker")
