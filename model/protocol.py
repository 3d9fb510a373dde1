"""What a model must offer to be trained and evaluated here, and models of other packages found by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from seqviews.model.gaussian import Gaussian
from seqviews.model.methods.objective import LossTerms

GROUP = "seqviews.models"
"""Entry points of this group are models: `[project.entry-points."seqviews.models"] name = "package.module:Class"`."""


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """q(s, z given x): the static and the dynamic latents of a batch [P C.2].

    Attributes:
        static: `[B, static_dim]`.
        dynamic: `[B, T, dynamic_dim]`.
    """

    static: Gaussian
    dynamic: Gaussian


class Views(Protocol):
    """What the loss needs of a batch: the sequences and two views of each [P 2.3]."""

    @property
    def anchor(self) -> Tensor:
        """The sequences themselves: clips `[B, T, C, H, W]` in [0, 1], or segments `[B, T, n_mels]` of mean 0."""

    @property
    def motion(self) -> Tensor:
        """Same motion, other content; shaped and scaled like the anchor."""

    @property
    def order(self) -> Tensor:
        """Same content: frame t of the content view is frame `order[b, t]` of the anchor; int64 `[B, T]`."""


class SequenceModel(Protocol):
    """A model of sequences with a static and a dynamic latent: what training and evaluation ask of a plugin.

    A plugin is an `nn.Module` with these methods and needs no base class of this package. Its constructor's typed
    arguments are what a configuration may set.
    """

    def encode(self, x: Tensor) -> Posterior:
        """The posterior of clips `[B, T, C, H, W]` in [0, 1], or of segments `[B, T, n_mels]`, each mel of mean 0."""

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        """Sequences like those that are encoded, of latents `[B, S]` and `[B, T, D]`."""

    def sample_static(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """`[n, S]` from the prior of s."""

    def sample_dynamic(self, n: int, length: int, generator: torch.Generator | None = None) -> Tensor:
        """`[n, length, D]` from the prior of z."""

    def loss(self, views: Views, generator: torch.Generator | None = None) -> LossTerms:
        """The terms of the objective for a batch and its views; a term that the model has not is a zero."""


def class_path_of(name: str) -> str:
    """The import path of a model's class, `package.module.Class`.

    Args:
        name: Of an entry point of the group `seqviews.models`; what is no bare name, such as a path, comes back as it
            is.

    Raises:
        ValueError: If no installed package registers the name, several do, or what it names is not a model.

    >>> class_path_of("package.module.Class")
    'package.module.Class'
    """
    if not re.fullmatch(r"[\w-]+", name):
        return name
    found = entry_points(group=GROUP, name=name)
    packages = ", ".join(sorted({point.dist.name for point in found if point.dist}))
    if not found:
        known = ", ".join(sorted(entry_points(group=GROUP).names)) or "none"
        raise ValueError(f"no installed package registers a model {name}; known are: {known}")
    if len(found) > 1:
        raise ValueError(f"several packages register a model {name}, {packages}: give a class path instead")
    (point,) = found
    try:
        model = point.load()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the model {name} of {packages} cannot be imported: {error}") from error
    if not (isinstance(model, type) and issubclass(model, nn.Module)):
        raise ValueError(f"the model {name} of {packages} is not a class derived from torch.nn.Module")
    return f"{model.__module__}.{model.__qualname__}"


def with_class_path(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of a model with the import path of its class in place of its registered name.

    Args:
        config: `class_path`, which may be a name, and `init_args`.

    Raises:
        ValueError: As `class_path_of`.
    """
    if "class_path" not in config:
        return dict(config)
    return {**config, "class_path": class_path_of(str(config["class_path"]))}


def check_model(model: object) -> None:
    """Refuse what cannot be trained and evaluated, before time goes into it.

    Raises:
        ValueError: If a method of `SequenceModel` is missing.
    """
    wanted = [name for name, member in vars(SequenceModel).items() if callable(member) and not name.startswith("_")]
    missing = [name for name in wanted if not callable(getattr(model, name, None))]
    if missing:
        raise ValueError(
            f"{type(model).__name__} is not a model of sequences: it has no {', '.join(missing)} "
            f"(see {SequenceModel.__module__}.{SequenceModel.__name__})"
        )
