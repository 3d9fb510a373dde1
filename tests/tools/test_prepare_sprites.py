import functools
import io
from pathlib import Path

import pytest
from PIL import Image
from tool_calls import Failure, call

from seqviews.pipeline.datasets.sprites import Sprites
from seqviews.pipeline.manifest import load_manifest
from seqviews.tools.prepare_sprites import main


@functools.cache
def png(width: int = 832, height: int = 1344, mode: str = "RGBA") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def sheets(tmp_path: Path) -> Path:
    """Empty sheets of the right size."""
    folder = tmp_path / "sheets"
    for part in ("body", "bottomwear", "topwear", "hair", "shoes"):
        (folder / part).mkdir(parents=True)
        for variant in range(6):
            (folder / part / f"{variant}.png").write_bytes(png())
    return folder


def test_writes_the_splits(sheets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = {"train": ["character-0000", "character-0007", "character-0010"], "val": ["character-0002"], "test": []}
    monkeypatch.setattr(Sprites, "sources", lambda self, split: some[split])
    options = ["--shard-sources", 2, "--workers", 1, "--codec", "png"]
    assert call(main, "--sheets", sheets, "--out", tmp_path / "out", *options) == 0
    manifests = [load_manifest(tmp_path / "out" / split) for split in ("train", "val")]
    assert [(len(m), len(m.shards), m.dataset.features.codec) for m in manifests] == [(27, 2, "png"), (9, 1, "png")]


@pytest.mark.parametrize(
    ("bad", "data", "message"),
    [
        ("body/0.png", None, "no sprite sheet"),
        ("topwear/3.png", png(width=831), "is [1344, 831, 4] uint8, not 1344 x 832 RGBA"),
        ("hair/5.png", png(mode="RGB"), "is [1344, 832, 3] uint8, not 1344 x 832 RGBA"),
        ("body/5.png", png(mode="I;16"), "is [1344, 832] uint16, not 1344 x 832 RGBA"),
        ("shoes/1.png", png()[: len(png()) // 2], "is damaged"),
        ("bottomwear/0.png", b"", "is damaged"),
    ],
)
def test_a_bad_sheet_is_one_sentence_and_writes_nothing(
    sheets: Path, tmp_path: Path, failure: Failure, bad: str, data: bytes | None, message: str
) -> None:
    (sheets / bad).unlink()
    if data is not None:
        (sheets / bad).write_bytes(data)
    line = failure(main, "--sheets", sheets, "--out", tmp_path / "out")
    assert message in line
    assert str(sheets / bad) in line
    assert not (tmp_path / "out").exists()
