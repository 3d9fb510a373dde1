"""Classes that a configuration may name: methods and views that installed packages register as entry points.

A configuration comes from anybody. Nothing is imported or called on its word but what is registered on this machine,
and its arguments are plain data.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import nn

from seqviews.model.protocol import Method

PLAIN = {bool, int, float, str, NoneType, Any, list, tuple, dict, Sequence, Mapping, Ellipsis}
MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Kind:
    """What can be registered: its noun in messages, its group of entry points, the base of its classes.

    A package registers with `[project.entry-points."seqviews.models"] name = "package.module:Class"`.
    """

    noun: str
    group: str
    base: type[nn.Module]


MODELS = Kind("model", "seqviews.models", Method)
VIEWS = Kind("view", "seqviews.views", nn.Module)


def registered(kind: Kind) -> list[str]:
    """The names that installed packages register, sorted; nothing is imported.

    >>> "cdsvae" in registered(MODELS)
    True
    """
    return sorted(entry_points(group=kind.group).names)


def find_class(name: str, kind: Kind, *, trust_code: bool = False) -> type[nn.Module]:
    """The class of a registered name, or of an import path `package.module.Class`.

    Args:
        name: As in a configuration. A path must be that of a registered class.
        kind: What it must be.
        trust_code: Allow any other path, and so let its module run.

    Raises:
        ValueError: If it is not registered, several packages register it, or it is not such a class.
    """
    path = name.replace(":", ".")
    found = [p for p in entry_points(group=kind.group) if p.name == name or p.value.replace(":", ".") == path]
    if len({point.value for point in found}) > 1:
        packages = ", ".join(sorted({point.dist.name for point in found if point.dist}))
        raise ValueError(f"several packages register a {kind.noun} {name}, {packages}: give its import path instead")
    if not found and not (trust_code and re.fullmatch(r"\w+(\.\w+)+", path)):
        advice = "" if "." not in path else "; --trust-code runs the code of other modules"
        known = ", ".join(registered(kind)) or "none"
        raise ValueError(f"no installed package registers a {kind.noun} {name[:100]!r}; registered: {known}{advice}")
    point = found[0] if found else EntryPoint(name, ":".join(path.rpartition(".")[::2]), kind.group)
    try:
        cls = getattr(import_module(point.module), point.attr)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the {kind.noun} {name} cannot be imported: {error}") from error
    if not (isinstance(cls, type) and issubclass(cls, kind.base)):
        base = f"{kind.base.__module__}.{kind.base.__qualname__}"
        raise ValueError(f"the {kind.noun} {name} is not a class derived from {base}")
    return cls


def resolve(
    spec: Mapping[str, Any],
    kind: Kind,
    *,
    facts: Mapping[str, Callable[[], Any]] | None = None,
    trust_code: bool = False,
) -> tuple[type[nn.Module], dict[str, Any]]:
    """The class that an entry of a configuration names, and its arguments.

    Args:
        spec: `name`, and the arguments of the constructor.
        kind: What it must be.
        facts: Give arguments that the data set decides: each is called if the constructor has an argument of its name
            which the entry does not set.
        trust_code: As for `find_class`.

    Raises:
        ValueError: As `find_class`; if there is no name, or an argument is not plain data.
    """
    if not isinstance(spec.get("name"), str):
        raise ValueError(f"the configuration's {kind.noun} has no name; registered: {', '.join(registered(kind))}")
    arguments = {name: value for name, value in spec.items() if name != "name"}
    if not trust_code:
        _check_plain(arguments)
    cls = find_class(spec["name"], kind, trust_code=trust_code)
    if not trust_code:
        _check_annotations(cls, arguments)
    known = inspect.signature(cls.__init__).parameters
    decided = {name: fact() for name, fact in (facts or {}).items() if name in known and name not in arguments}
    return cls, decided | arguments


def build(spec: Mapping[str, Any], kind: Kind, *, trust_code: bool = False) -> nn.Module:
    """The object that an entry of a configuration describes; arguments as those of `resolve`.

    Raises:
        ValueError: As `resolve`, and if the class does not take these arguments.
    """
    from jsonargparse import ArgumentParser

    cls, arguments = resolve(spec, kind, trust_code=trust_code)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, kind.noun, fail_untyped=False)
    with _one_sentence(spec, kind):
        made: nn.Module = getattr(parser.instantiate(parser.parse_object({kind.noun: arguments})), kind.noun)
    return made


def check_arguments(spec: Mapping[str, Any], kind: Kind, decided: Iterable[str]) -> None:
    """Check the class and the arguments that an entry names, before there is a data set.

    Args:
        spec: As of `resolve`.
        kind: What it must be.
        decided: Arguments that the data set decides, which may be missing.

    Raises:
        ValueError: As `build`, but for what the constructor itself finds.

    Example:
        >>> check_arguments({"name": "cdsvae", "alpha": 1.0}, MODELS, ["frame_shape"])
    """
    from jsonargparse import ArgumentParser

    cls, arguments = resolve(spec, kind)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, kind.noun, skip=set(decided) - arguments.keys(), fail_untyped=False)
    with _one_sentence(spec, kind):
        parser.parse_object({kind.noun: arguments})


@contextmanager
def _one_sentence(spec: Mapping[str, Any], kind: Kind) -> Iterator[None]:
    """Whatever is raised, as a `ValueError` that names the class."""
    try:
        yield
    except Exception as error:  # jsonargparse raises its own error class around whatever the constructor raised
        message = re.sub(r"\s+", " ", str(error)).removeprefix("Parser key ")
        raise ValueError(f"cannot build the {kind.noun} {spec['name']}: {message}") from error


def _check_plain(value: Any, depth: int = MAX_DEPTH) -> None:
    """Plain data has no `class_path`, which configuration parsers take for a class to import."""
    children = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else []
    if isinstance(value, Mapping) and "class_path" in value:
        found = str(value["class_path"])[:100]
        raise ValueError(f"the configuration has a class_path, {found!r}: it takes plain data only")
    if children and not depth:
        raise ValueError(f"the configuration has more than {MAX_DEPTH} levels")
    for child in children:
        _check_plain(child, depth - 1)


def _check_annotations(cls: type[nn.Module], arguments: Mapping[str, Any]) -> None:
    """A string given for a callable or a class would be imported."""
    hints = get_type_hints(cls.__init__)
    for name in arguments:
        if not _is_plain(hints.get(name, Any)):
            reason = f"takes {name} as {hints[name]}, not as plain data: setting it needs --trust-code"
            raise ValueError(f"{cls.__name__} {reason}")


def _is_plain(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is None:
        return annotation in PLAIN
    return origin is Literal or (origin in {*PLAIN, Union, UnionType} and all(map(_is_plain, get_args(annotation))))
