"""Imports point one way, and nobody pays for what they do not use."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RECORDS, FEATURES, MANIFEST = "pipeline.records", "pipeline.features", "pipeline.manifest"
TABLE = "pipeline.shard_table"
BOTTOM = {RECORDS, TABLE, FEATURES, MANIFEST, "pipeline.files"}
SHARDS = BOTTOM | {"pipeline.shards", "pipeline.storage"}
NUMBERS = {"model.gaussian", "model.padding", "model.ranks"}
CONTRACT = NUMBERS | {"model.protocol"}
SHOWN = BOTTOM | CONTRACT | {"model.scaling", "model.report"}
CONFIGURED = {"model.plain_data", "model.registry"}
ROOMS = {  # what the files of a folder may import; the first that fits
    "pipeline/records": set[str](),
    "pipeline/files": set[str](),
    "pipeline/features": set[str](),
    "pipeline/shard_table": set[str](),
    "pipeline/manifest": {RECORDS, TABLE, FEATURES, "pipeline.shards.strict_json", "pipeline.storage"},
    "pipeline/storage": {RECORDS, "pipeline.files", "pipeline.storage"},
    "pipeline/shards": SHARDS,
    "pipeline/stream": SHARDS | {"pipeline.stream"},
    "pipeline/prepare": SHARDS | {"pipeline.prepare"},
    "pipeline/sources": SHARDS | {"pipeline.sources"},
    "pipeline/datasets": SHARDS | {"pipeline.prepare", "pipeline.sources", "pipeline.datasets"},
    "augment": {"augment", RECORDS},
    "model/plain_data": set[str](),
    "model/ranks": set[str](),
    "model/padding": set[str](),
    "model/gaussian": NUMBERS,
    "model/information": NUMBERS,
    "model/discrepancy": NUMBERS,
    "model/protocol": NUMBERS,
    "model/registry": CONTRACT,
    "model/scaling": {FEATURES, MANIFEST},
    "model/layers": NUMBERS | {"model.layers"},
    "model/methods": CONTRACT | {"model.layers", "model.information", "model.discrepancy", "model.methods"},
    "model/report": SHOWN,
    "model/train": SHOWN | CONFIGURED | {"model.train", "augment", "pipeline"},
    "model/evaluate": SHOWN
    | {
        "model.train",
        "model.evaluate",
        "pipeline.storage.folder",
        "pipeline.stream.recordset",
        "pipeline.stream.excerpt",
    },
    "model/reproduce": SHOWN
    | CONFIGURED
    | {"model.train", "model.evaluate", "model.reproduce", "pipeline.storage.urls"},
    "model": {"model"},
    "pipeline": {"pipeline"},
    "tools": {"tools", "model", "augment", "pipeline"},
}
PACKAGES = ("pipeline", "augment", "model", "tools")


def own_imports(path: Path) -> set[str]:
    """Modules of the package that a file imports, as `folder` or `folder.module`; TYPE_CHECKING blocks left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names |= {
                f"{node.module}.{alias.name}" if is_module(f"{node.module}.{alias.name}") else node.module
                for alias in node.names
            }
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    assert not {n.partition(".")[0] for n in names} & set(PACKAGES), f"{path}: imports a folder by its bare name"
    return {n.removeprefix("seqviews.") for n in names if n.startswith("seqviews.")}


def is_module(name: str) -> bool:
    return (ROOT / name.removeprefix("seqviews.").replace(".", "/")).with_suffix(".py").is_file()


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", [p for package in PACKAGES for p in files(package)], ids=lambda p: p.name)
def test_imports_point_one_way(path: Path) -> None:
    name = str(path.relative_to(ROOT).with_suffix(""))
    room = next(room for room in ROOMS if f"{name}/".startswith(f"{room}/"))
    allowed = ROOMS[room]
    assert not {n for n in own_imports(path) if not any(f"{n}.".startswith(f"{a}.") for a in allowed)}


def test_no_two_files_import_each_other() -> None:
    """Imports inside functions count too."""
    paths = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for f in PACKAGES for path in files(f)}
    modules = {name.removesuffix(".__init__"): own_imports(path) for path, name in paths.items()}
    sorter = TopologicalSorter({name: imported & modules.keys() for name, imported in modules.items()})
    assert set(sorter.static_order()) == modules.keys()  # raises CycleError with the files


@pytest.mark.parametrize("path", [p for folder in ("pipeline", "augment", "model") for p in files(folder)])
def test_only_tools_print_to_stdout(path: Path) -> None:
    calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    prints = [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
    assert all(any(k.arg == "file" for k in c.keywords) for c in prints)


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    return set(done.stdout.split())


SLOW = pytest.mark.slow
NETWORKS = {"torch", "kornia", "lightning", "sklearn", "scipy"}
HEAVY = NETWORKS | {"matplotlib", "librosa", "imagecodecs", "jsonargparse", "datasets", "webdataset"}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("import seqviews", set()),
        ("from seqviews.augment import *", {"torch", "kornia"}),
        ("import numpy; from seqviews.augment import VoiceConverter as V; V()(numpy.ones(8000), [1])", set()),
        ("import seqviews.pipeline.prepare.write, seqviews.pipeline.datasets.sprites", {"imagecodecs"}),
        ("import seqviews.pipeline.stream.stream", {"torch", "imagecodecs"}),
        ("import seqviews.model.methods.cdsvae", {"torch"}),
    ],
)
def test_nobody_pays_for_what_they_do_not_use(statement: str, expected: set[str]) -> None:
    assert loaded_by(statement) & HEAVY == expected


WITHOUT_POSIX = """
import importlib, mmap, os, pkgutil, sys
import torch, torch.distributed
sys.modules.update(dict.fromkeys(["fcntl", "grp", "pwd", "resource", "termios"]))
for name in ["MAP_ANONYMOUS", "MAP_PRIVATE", "MAP_SHARED"]:
    delattr(mmap, name)
for name in ["O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "fork", "geteuid", "getuid"]:
    delattr(os, name)
import seqviews.{0} as package
for module in pkgutil.walk_packages(package.__path__, "seqviews.{0}."):
    importlib.import_module(module.name)
"""


@pytest.mark.parametrize("package", [p if p == "pipeline" else pytest.param(p, marks=SLOW) for p in PACKAGES])
def test_nothing_of_posix_is_needed_to_import(package: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX.format(package)], capture_output=True, text=True, cwd="/"
    )
    assert done.returncode == 0, done.stderr


def test_a_folder_is_not_imported_under_its_bare_name() -> None:
    done = subprocess.run([sys.executable, "-c", "import pipeline"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert "import seqviews.pipeline, not pipeline" in done.stderr
