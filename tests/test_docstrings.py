"""Examples in docstrings run, and everything public has a docstring that a person can read."""

import doctest
import importlib
import pkgutil

import pytest

FOLDERS = [importlib.import_module(f"seqviews.{name}") for name in ("pipeline", "augment", "model", "tools")]
MODULES = [m.name for folder in FOLDERS for m in pkgutil.walk_packages(folder.__path__, folder.__name__ + ".")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, "a module says what it is"
    assert doctest.testmod(module).failed == 0


def test_there_are_examples() -> None:
    examples = sum(len(t.examples) for n in MODULES for t in doctest.DocTestFinder().find(importlib.import_module(n)))
    assert examples >= 20
