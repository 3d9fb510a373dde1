"""The code in the documents runs as it is written, on toy clips in place of the reader's data."""

from __future__ import annotations

import importlib.util
import math
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from toy_clips import ToyClips

from seqviews.pipeline.prepare.write import prepare

DOCS = Path(__file__).parents[1] / "docs"


def blocks(name: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (DOCS / name).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def in_a_folder_with_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(ToyClips((96, 0, 0)), tmp_path / "data" / "sprites")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def lightly(monkeypatch: pytest.MonkeyPatch) -> None:
    """lightly imports; without torchvision, which would replace our torch, by a stand-in that has nothing behind it.

    Other losses than NT-Xent ask for these two names when they are imported.
    """
    if importlib.util.find_spec("torchvision") is None:
        ops = ModuleType("torchvision.ops")
        ops.roi_align = ops.StochasticDepth = None  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
        monkeypatch.setitem(sys.modules, "torchvision.ops", ops)


def losses(code: str, capsys: pytest.CaptureFixture[str]) -> list[float]:
    exec(compile(code, "docs", "exec"), {})
    return [float(loss) for loss in re.findall(r"loss (\S+)", capsys.readouterr().out)]


@pytest.mark.usefixtures("in_a_folder_with_data", "lightly")
def test_simclr_learns_and_is_the_same_with_lightly(capsys: pytest.CaptureFixture[str]) -> None:
    setting, plain, with_lightly = blocks("other-projects.md")
    ours, theirs = losses(setting + plain, capsys), losses(setting + with_lightly, capsys)
    chance = math.log(2 * 64 - 1)
    assert len(ours) == len(theirs) == 4
    assert max(ours[-1], theirs[-1]) < chance - 0.1
    assert ours[0] == pytest.approx(theirs[0], abs=0.002)
    assert ours == pytest.approx(theirs, abs=0.05)
