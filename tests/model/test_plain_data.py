"""Dataclasses of plain data: every value has the type that its field says, or the error names the field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from seqviews.model.plain_data import dataclass_of, read_yaml


@dataclass(frozen=True, kw_only=True)
class Toy:
    count: int
    rate: float = 1.0
    name: str | None = None
    flag: bool = False
    order: Literal["first", "last"] = "first"
    sizes: Mapping[str, list[int]] | None = None
    anything: Any = None


@pytest.mark.parametrize(
    "values",
    [
        {"count": 3},
        {"count": 3, "rate": 2, "name": None, "flag": True, "order": "last"},
        {"count": 0, "sizes": {"a": [1, 2], "b": []}, "anything": {"deep": [None, 1.5]}},
        {"count": 1, "order": "neither", "sizes": None},  # which a dataclass checks itself
    ],
)
def test_values_of_the_right_types_are_kept(values: dict[str, Any]) -> None:
    made = dataclass_of(Toy, values, "toy.yaml")
    assert {name: getattr(made, name) for name in values} == values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1], r"^toy.yaml is not a mapping$"),
        ({}, r"^toy.yaml: missing 1 required keyword-only argument: 'count'$"),
        ({"count": 3, "size": 1}, r"^toy.yaml has an unknown key 'size'; known: count, rate, name, "),
        ({"count": 3, 5: 1}, r"^toy.yaml has an unknown key '5'"),
        ({"count": 3.0}, r"^toy.yaml: count is '3.0', not int$"),
        ({"count": True}, r"^toy.yaml: count is 'True', not int$"),
        ({"count": "3"}, r"^toy.yaml: count is '3', not int$"),
        ({"count": 3, "rate": "fast"}, r"rate is 'fast', not float$"),
        ({"count": 3, "flag": 1}, r"flag is '1', not bool$"),
        ({"count": 3, "name": 5}, r"name is '5', not str \| None$"),
        ({"count": 3, "sizes": {"a": [1, "2"]}}, r"sizes is .*, not Mapping\[str, list\[int\]\] \| None$"),
        ({"count": 3, "sizes": {1: [1]}}, r"sizes is .*, not Mapping"),
    ],
)
def test_others_are_named(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclass_of(Toy, values, "toy.yaml")


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.getcwd []", "a: &a [*a]", "when: 2026-11-27", "a: b: c", "[1]"]
)
def test_what_is_not_a_mapping_of_plain_data_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"toy.yaml is not (YAML of plain data: |a YAML file of keys and values)"):
        read_yaml(path)
