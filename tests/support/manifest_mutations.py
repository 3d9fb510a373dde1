"""Mutations of a manifest: each takes a generator and the good text, and returns bytes."""

import copy
import json
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from tar_mutations import damaged, pick

Mutation: TypeAlias = Callable[[np.random.Generator, str], bytes]
Place: TypeAlias = tuple[Any, Any]  # a container and one of its keys or indexes

VALUES: list[Any] = [None, True, False, 0, 1, -1, 3, 0.5, 3.0, 1e9, 10**9, 2**63, 2**64, 10**18, 1e308, "", "x", "webp"]
VALUES += ["../../etc/passwd", "/etc/passwd", "a/b.tar", "train-000000.tar\n", "ключ.tar", "\0", "\ud800"]
VALUES += ["x" * 100_000, [], {}, [[]], [1e9, 1, 1, 3], [10**9, 10**9, 10**9, 3], [10_000, 4096, 4096, 3]]
VALUES += [[4, 16, 16, 1]]
VALUES += [[2, 32, 16, 3], [4.0, 16, 16, 3], [4, 16, 16, 3.0], [4, 16, 16, True], [0, 16, 16, 3], ["4", 16, 16, 3]]
VALUES += [list(range(100_000)), {"shade": None}, {"shade": []}, {"shade": ["a"]}, {"a b": None}, {"x" * 200: None}]
VALUES += [{"shade": ["x"] * 200_000}]
RAW = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 5000, "1" + "0" * 4000, "0x10", "01", "1_000"]
RAW += ["'a'", "[" * 10_000, "[" * 900 + "]" * 900, "[" * 20 + "]" * 20, '{"a":' * 10_000, '{"a":1,"a":2}', '"\\ud800"']
RAW += ["\x07", ""]


def places(tree: Any) -> list[Place]:
    """Every value of a JSON tree, as the container that it is in and its key there."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, value in children for place in ((tree, key), *places(value))]


def replaced(rng: np.random.Generator, text: str) -> bytes:
    raw = json.loads(text)
    for _ in range(pick(rng, [1, 1, 2])):
        container, key = pick(rng, places(raw))
        container[key] = copy.deepcopy(pick(rng, VALUES))
    return json.dumps(raw).encode()


def spliced(rng: np.random.Generator, text: str) -> bytes:
    """A value replaced by text that no encoder writes."""
    raw = json.loads(text)
    container, key = pick(rng, places(raw))
    container[key] = "here"
    return json.dumps(raw).replace('"here"', pick(rng, RAW)).encode("utf-8")


def removed(rng: np.random.Generator, text: str) -> bytes:
    raw = json.loads(text)
    container, key = pick(rng, places(raw))
    del container[key]
    return json.dumps(raw).encode()


def moved(rng: np.random.Generator, text: str) -> bytes:
    """A value copied from elsewhere in the manifest: valid, at the wrong place."""
    raw = json.loads(text)
    (container, key), (other, where) = pick(rng, places(raw)), pick(rng, places(raw))
    container[key] = copy.deepcopy(other[where])
    return json.dumps(raw).encode()


def extended(rng: np.random.Generator, text: str) -> bytes:
    raw = json.loads(text)
    containers = [raw, *(c[k] for c, k in places(raw) if isinstance(c[k], dict | list))]
    container, value = pick(rng, containers), copy.deepcopy(pick(rng, VALUES))
    if isinstance(container, list):
        container.append(pick(rng, [value, *container]))
    else:
        container[pick(rng, ["extra", "__class__", "name", "", "records", "shade"])] = value
    return json.dumps(raw).encode()


def number_changed(rng: np.random.Generator, text: str) -> bytes:
    raw = json.loads(text)
    container, key = pick(rng, [(c, k) for c, k in places(raw) if type(c[k]) in (int, float)])
    container[key] = pick(rng, [-container[key], container[key] + 1, container[key] * 1000, container[key] / 2, 1, 2])
    return json.dumps(raw).encode()


def newer(rng: np.random.Generator, text: str) -> bytes:
    raw = {**json.loads(text), "schema_version": pick(rng, [0, 2, 99, 10**30, "2", 2.5, True, None])}
    encoders = [raw["encoders"], {"seqviews": "9.9"}, {"seqviews": 9}, None, [], {"seqviews": "x" * 9999}]
    raw["encoders"] = pick(rng, encoders)
    return json.dumps(raw).encode()


def shards_repeated(rng: np.random.Generator, text: str) -> bytes:
    raw = json.loads(text)
    count = pick(rng, [1, 2, 1000, 20_000, 60_000])
    template = raw["shards"][0]
    raw["shards"] += [{**template, "name": f"x-{i}.tar"} if i % 7 or count > 1000 else template for i in range(count)]
    return json.dumps(raw).encode()


def bytes_damaged(rng: np.random.Generator, text: str) -> bytes:
    return damaged(rng, text.encode(), [1, 1, 3, 30])


def whole(rng: np.random.Generator, text: str) -> bytes:
    """Something else altogether."""
    others = [b"", b"{}", b"[]", b"null", b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"\xef\xbb\xbf" + text.encode()]
    others += [text.encode("utf-16"), text.encode() * 2, b" " * (1 << 23), b"[" + b"{}," * 1_000_000 + b"{}]"]
    return pick(rng, [*others, b'{"parameters":[' + b"[]," * 1_000_000 + b"[]]}"])


MUTATIONS: list[Mutation] = [replaced, replaced, replaced, spliced, spliced, removed, moved, extended]
MUTATIONS += [number_changed, newer, shards_repeated, bytes_damaged, whole]
