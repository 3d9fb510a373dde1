"""Untrusted JSON: one object of bounded size and depth, unique keys and finite numbers; NumPy's numbers."""

import json
import math
import operator
from collections import Counter
from typing import Any

import numpy as np

MAX_VALUES = 200_000
MAX_DEPTH = 32
MAX_INTEGER = 1 << 63


def integer(name: str, value: Any) -> int:
    """Return an integer of any type, for example NumPy's, as an int, which JSON can hold.

    Raises:
        TypeError: If it is not an integer.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}, not an integer") from None


def plain(value: Any) -> Any:
    """Return NumPy's numbers and arrays as `json.dumps` needs them, which calls this for what it does not know.

    Raises:
        TypeError: If it is anything else.
    """
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be stored as JSON")


def parse_object(text: str) -> dict[str, Any]:
    """Parse a JSON object of bounded length.

    Raises:
        ValueError: If it is not a JSON object, has over 200,000 values or 32 levels, a key twice, or an unsafe number.

    Example:
        >>> parse_object('{"a": [1, 2.5]}')
        {'a': [1, 2.5]}
        >>> parse_object('{"a": NaN}')
        Traceback (most recent call last):
        ValueError: not JSON: NaN is not a number
    """
    # checked before parsing, which allocates 70 bytes for "[],"; a short text cannot hold so many
    if len(text) > MAX_VALUES and sum(text.count(mark) for mark in ",[{") > MAX_VALUES:
        raise ValueError(f"JSON of more than {MAX_VALUES} values")
    text = text.strip(" \t\n\r")
    try:
        value, end = _DECODER.raw_decode(text)  # decode() skips white space by a slow regular expression
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {str(error)[:200]}") from None
    if end < len(text):
        raise ValueError(f"not JSON: something follows the value at character {end}")
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    _check(value, MAX_DEPTH)
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        [(name, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {name[:80]!r} is repeated")
    return value


def _reject(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number")


_DECODER = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_constant=_reject)


def _check(value: dict[str, Any] | list[Any], depth: int) -> None:
    if depth == 0:
        raise ValueError(f"not JSON of at most {MAX_DEPTH} levels")
    for child in value.values() if isinstance(value, dict) else value:
        kind = type(child)
        if kind is int:
            if not -MAX_INTEGER < child < MAX_INTEGER:
                raise ValueError("a number does not fit 64 bits")
        elif kind is float:
            if not math.isfinite(child):
                raise ValueError("a number is too large for a float")
        elif kind is dict or kind is list:
            _check(child, depth - 1)
