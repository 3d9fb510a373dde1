"""YAML files of plain data, and the dataclasses that they describe."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

MAX_BYTES = 1 << 20
T = TypeVar("T")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file of plain data; tags that name Python objects are rejected.

    Raises:
        ValueError: If it is too large, or not YAML of a mapping.
    """
    data = path.read_bytes()[: MAX_BYTES + 1]
    try:
        values = yaml.safe_load(data.decode("utf-8")) if len(data) <= MAX_BYTES else None
        json.dumps(values)  # no dates, and nothing that holds itself
    except (yaml.YAMLError, RecursionError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is not YAML of plain data: {reason}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} is not a YAML file of keys and values of at most 1 MiB")
    return values


def dataclass_of(kind: type[T], values: Any, where: str) -> T:
    """A dataclass from a mapping of its fields; `where` names the mapping in messages.

    Raises:
        ValueError: If a key is unknown or missing, or a value has another type.

    Example:
        >>> from seqviews.pipeline.stream.excerpt import Excerpt
        >>> dataclass_of(Excerpt, {"frames": 15, "step": "two"}, "mug.yaml")
        Traceback (most recent call last):
            ...
        ValueError: mug.yaml: step is 'two', not int
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} is not a mapping")
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]  # all of them are dataclasses
    if unknown := sorted(str(name)[:100] for name in values.keys() - known.keys()):
        raise ValueError(f"{where} has an unknown key {unknown[0]!r}; known: {', '.join(known)}")
    hints = get_type_hints(kind)
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise ValueError(f"{where}: {name} is {str(value)[:100]!r}, not {known[name].type}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{where}: {str(error).partition('() ')[2]}") from None


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value of YAML is of a type, and all that it holds; whole numbers are floats, too.

    Of a Literal, a dataclass checks the choice itself, and lists the choices.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (UnionType, Union):
        return any(_fits(value, each) for each in inner)
    if origin is list:
        return isinstance(value, list) and all(_fits(each, inner[0]) for each in value)
    if origin is Mapping:
        key, each = inner
        return isinstance(value, Mapping) and all(_fits(k, key) and _fits(v, each) for k, v in value.items())
    if origin is Literal:
        return True
    if hint is Any or isinstance(value, bool):
        return hint in (Any, bool)
    return isinstance(value, (int, float) if hint is float else hint)
