"""Code, commands and links in the documents are valid; code runs on toy clips in place of the reader's data."""

import importlib
import importlib.util
import math
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from toy_clips import ToyClips

from seqviews.pipeline.prepare.write import prepare

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {str(p.relative_to(ROOT)): p.read_text(encoding="utf-8") for p in [*ROOT.glob("*.md"), *DOCS.glob("*.md")]}
COMMANDS = sorted(
    {
        command
        for text in [*PAGES.values(), (ROOT / "Makefile").read_text()]
        for command in re.findall(
            r"(?:^    |`|\(BIN\)/)seqviews (\w+ [^`\n]+)", re.sub(r"\\\n\s*", "", text), re.MULTILINE
        )
        if "..." not in command
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_valid(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, *arguments = shlex.split(command, comments=True)
    tool = importlib.import_module(f"seqviews.tools.{name}")
    parsed: list[Any] = []
    monkeypatch.setattr(tool, "run_tool", lambda function, parser, argv: parsed.append(parser.parse_args(argv)))
    tool.main(arguments)
    assert parsed


@pytest.mark.parametrize("page", sorted(PAGES))
def test_links_and_named_tests_exist(page: str) -> None:
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", PAGES[page]):
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.*)", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    for name in set(re.findall(r"\btest_\w+\.py", PAGES[page])):
        assert list((ROOT / "tests").rglob(name)), name


def blocks(name: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGES[f"docs/{name}"], re.MULTILINE | re.DOTALL)


@pytest.fixture
def in_a_folder_with_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(ToyClips((96, 0, 0)), tmp_path / "data" / "sprites")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def lightly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes lightly import without torchvision, which would replace our torch.

    Losses other than NT-Xent import these two names.
    """
    if importlib.util.find_spec("torchvision") is None:
        ops = ModuleType("torchvision.ops")
        ops.roi_align = ops.StochasticDepth = None  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
        monkeypatch.setitem(sys.modules, "torchvision.ops", ops)


def losses(code: str, capsys: pytest.CaptureFixture[str]) -> list[float]:
    exec(compile(code, "docs", "exec", dont_inherit=True), {})
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


@pytest.mark.usefixtures("in_a_folder_with_data")
def test_excerpts_subsets_mixtures_and_made_records_are_streamed() -> None:
    excerpt, subset, mixture, made, _ = blocks("order.md")  # the last runs in model/train/test_data.py
    names: dict[str, Any] = {}
    for long, short in (("mug", "sprites"), ("frames=15", "frames=2")):
        excerpt = excerpt.replace(long, short)
    exec(compile(excerpt, "docs", "exec", dont_inherit=True), names)
    assert next(iter(names["stream"])).x.shape == (64, 2, 3, 16, 16)
    exec(compile(subset.replace('"action"', '"shade"'), "docs", "exec", dont_inherit=True), names)
    assert len(names["walks"]) == 2 * len(names["walks"].manifest) // 3
    for name in ("a", "b"):
        Path("data", name).symlink_to("sprites")
    exec(compile(mixture, "docs", "exec", dont_inherit=True), names)
    assert len(names["stream"]) == -(-288 * 10 // 7 // 64)  # 288 records of the first set, and 3 for each 7 of them
    exec(compile(made, "docs", "exec", dont_inherit=True), names)
    assert len(names["stream"]) == -(-20000 // 64)
    assert next(iter(names["stream"])).x.shape == (64, 15, 1, 32, 32)


@pytest.mark.usefixtures("in_a_folder_with_data")
def test_other_pipelines_read_the_shards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    names: dict[str, Any] = {}
    for block in blocks("scale.md"):
        exec(compile(block, "docs", "exec", dont_inherit=True), names)
    keys = {record["key"] for record in names["records"]}
    assert keys == {record["key"] for record in names["pipeline"]}
    assert len(keys) == 288
