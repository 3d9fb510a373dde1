"""Examples in docstrings run, and everything public has a docstring that a person can read."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import seqviews

MODULES = [m.name for m in pkgutil.walk_packages(seqviews.__path__, "seqviews.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, "a module says what it is"
    assert doctest.testmod(module).failed == 0


def test_there_are_examples() -> None:
    examples = sum(len(t.examples) for n in MODULES for t in doctest.DocTestFinder().find(importlib.import_module(n)))
    assert examples >= 20
