"""A configuration from a stranger: nothing runs and nothing is imported on its word but registered classes."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_training import TINY
from tool_calls import Capsys, call
from torch import nn
from untrained import save_run

from seqviews.model import registry
from seqviews.model.protocol import Loss, Method, Views
from seqviews.model.registry import MODELS, VIEWS, build, check_arguments, find_class
from seqviews.model.train.config import CONFIG
from seqviews.model.train.runs import Run
from seqviews.tools import encode, show_views, train

CALL = {"class_path": "os.system", "init_args": {"command": "touch ran"}}
NAMES = ["torch.fx.symbolic_trace", "torch.hub.load", "torch.nn.Linear", "torch.nn.Sequential", "torch.load"]
NAMES += ["os.system", "os:system", "subprocess.Popen", "builtins.exec", "builtins.eval", "pickle.loads"]
NAMES += ["torch.utils.cpp_extension.load", "importlib.import_module", "seqviews.tools.cli.main"]
NAMES += ["canary_module.Model", "canary_module:Model", "canary_module", "../canary_module"]
NAMES += ["canary_package.inside.Model", "seqviews.model.methods.cdsvae.load_released", "cdsvae; import canary_module"]
NAMES += ["seqviews.model.methods.cdsvae.CDSVAE.__init__", "\x1b[2J", "", "a" * 100_000]
MODELS_OF_STRANGERS: list[Any] = [
    {"class_path": "canary_module.Model", "init_args": {}},
    {"name": {"class_path": "canary_module.Model"}},
    {"name": ["cdsvae"]},
    {"name": "cdsvae", "frame_shape": CALL},
    {"name": "cdsvae", "frame_shape": [CALL, 16, 16]},
    {"name": "cdsvae", "frame_shape": [3, 16, 16], "width": CALL},
    {"name": "cdsvae", "frame_shape": [3, 16, 16], "encoder": "canary_module.Model"},
    {"name": "cdsvae", "frame_shape": [3, 16, 16], "ablation": "canary_module.Model"},
    {"name": "cdsvae", "frame_shape": "canary_module.Model"},
    "canary_module.Model",
    ["canary_module.Model"],
    {},
]
TEXTS = [
    "model: !!python/object/apply:os.system ['touch ran']",
    "model: !!python/name:os.system",
    "model: !!python/module:canary_module",
    "model: !!python/object/new:canary_module.Model {}",
    "!!python/object/apply:os.system ['touch ran']",
    "model: {name: cdsvae, frame_shape: !!python/tuple [3, 16, 16]}",
    "model: &m {name: *m}",
    "- not a mapping",
    "\x00",
    "[" * 10_000,
    "model: {name: cdsvae}\ncallbacks: [canary_module.Model]",
]


def texts() -> list[str]:
    models = [{"name": name} for name in NAMES] + MODELS_OF_STRANGERS
    return [yaml.safe_dump({"data": "x", "out": "y", "model": model}) for model in models] + TEXTS


@pytest.fixture
def traps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Modules that leave a trace when they are imported, calls that leave one when they are made, and the traces."""
    traces: list[str] = []
    folder = tmp_path / "modules"
    (folder / "canary_package").mkdir(parents=True)
    for path in ("canary_module.py", "canary_package/__init__.py", "canary_package/inside.py"):
        (folder / path).write_text("import torch\nclass Model(torch.nn.Module):\n    pass\n")
    monkeypatch.syspath_prepend(folder)
    for name in ("system", "popen"):
        monkeypatch.setattr(os, name, lambda *a, **k: traces.append("called"))
    monkeypatch.chdir(tmp_path)
    return lambda: traces + [name for name in sys.modules if name.startswith("canary")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("run") / "run", (3, 16, 16))


@pytest.mark.parametrize("text", texts(), ids=range(len(texts())))
def test_nothing_of_a_strangers_configuration_runs(
    run: Path, toy: Path, text: str, traps: Callable[[], list[str]], capsys: Capsys
) -> None:
    Run.load(run)  # what a configuration in order imports
    known = set(sys.modules)
    config = (run / CONFIG).read_text()
    try:
        (run / CONFIG).write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"\w") as error:
            Run.load(run)
        assert len(str(error.value)) < 600
        tools = (
            (encode.main, ["--run", run, "--data", toy, "--out", "latents.npz"]),
            (show_views.main, ["--run", run, "--data", toy, "--step", "1", "--out", "views.png"]),
            (train.main, ["--config", run / CONFIG, "--data", toy, "--out", "trained"]),
        )
        for main, arguments in tools:
            assert call(main, *arguments) in (1, 2)
            *_, last = capsys.readouterr().err.splitlines()
            assert "error: " in last
            assert len(last) < 700
    finally:
        (run / CONFIG).write_text(config)
    assert traps() == []
    assert not Path("ran").exists()
    assert not [name for name in sys.modules.keys() - known if not name.startswith(("seqviews", "torch", "lightning"))]


class Guarded(Method):
    """A method that takes more than plain data."""

    def __init__(self, *, size: int = 1, hook: Callable[[], None] | None = None, head: nn.Module | None = None) -> None:
        super().__init__()
        self.size = size

    def loss(self, views: Views, player: str) -> Loss:
        raise NotImplementedError


@pytest.mark.parametrize("argument", [{"hook": "canary_module.Model"}, {"head": "torch.nn.Linear"}])
def test_arguments_that_would_be_imported_need_trust(
    argument: dict[str, str], traps: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "find_class", lambda *_, **__: Guarded)
    assert build({"name": "guarded", "size": 3}, MODELS).size == 3
    with pytest.raises(ValueError, match=r"Guarded takes \w+ as .*, not as plain data: setting it needs --trust-code"):
        build({"name": "guarded", **argument}, MODELS)
    assert traps() == []


def test_trusted_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trusted_views.py").write_text("from seqviews.augment.temporal import TemporalReverse\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="--trust-code runs the code of other modules"):
        find_class("trusted_views.TemporalReverse", VIEWS)
    assert find_class("trusted_views.TemporalReverse", VIEWS, trust_code=True).__name__ == "TemporalReverse"


def test_arguments_that_a_class_does_not_take_are_named(tmp_path: Path) -> None:
    for name, value in {"wide": 1, "width": "broad", "frame_shape": [3, 16]}.items():
        with pytest.raises(ValueError, match=f"cannot build the model cdsvae: .*{name}"):
            build({**TINY["model"], "frame_shape": [3, 16, 16], name: value}, MODELS)


def test_arguments_are_checked_without_those_that_the_data_decides() -> None:
    check_arguments({"name": "cdsvae", "beta": 2.0}, MODELS, ["frame_shape"])
    for arguments, decided, message in (
        ({}, [], "frame_shape"),
        ({"bta": 2.0}, ["frame_shape"], "bta"),
        ({"beta": "much"}, ["frame_shape"], "beta"),
        ({"frame_shape": "square"}, ["frame_shape"], "frame_shape"),
    ):
        with pytest.raises(ValueError, match=f"cannot build the model cdsvae: .*{message}"):
            check_arguments({"name": "cdsvae", **arguments}, MODELS, decided)
