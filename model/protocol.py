"""Method: what a way to learn sequences offers to be trained and evaluated here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from seqviews.model.gaussian import Gaussian

BETAS = (0.9, 0.95)  # the loss falls a hundredfold in a thousand steps; Adam's usual 0.999 would remember its start


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """q(s, z given x): static latents `[B, static_dim]` and dynamic latents `[B, T, dynamic_dim]` [P C.2]."""

    static: Gaussian
    dynamic: Gaussian


class Views(Protocol):
    """A batch as the loss sees it: the sequences, and what `Method.needs` names of views and labels [P 2.3]."""

    @property
    def anchor(self) -> Tensor:
        """The sequences: clips `[B, T, C, H, W]` in [0, 1], or segments `[B, T, n_mels]` of mean 0."""

    @property
    def motion(self) -> Tensor | None:
        """Same motion, other content; shaped and scaled like the anchor. None unless needed."""

    @property
    def order(self) -> Tensor | None:
        """Same content: frame t of the content view is frame `order[b, t]` of the anchor; int64 `[B, T]`."""

    @property
    def lengths(self) -> Tensor | None:
        """int64 `[B]`, where records differ in length: the number of frames of each, beyond which is padding.

        None unless `Method.takes_lengths`. The order leaves padding where it is.
        """

    @property
    def labels(self) -> Mapping[str, Tensor]:
        """Factors by name; and for methods that need the source, int64 `[B]`.

        `source` is the number of the source among those of the training split, `source_records` its number of records.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """The scalar that a player minimises, and scalars to log, in nats a sequence unless `Method.curves` differ."""

    total: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Curve:
    """How a logged term is drawn.

    Attributes:
        title: Above its plot.
        unit: Of its values.
        panel: Terms of the same panel are drawn together, as estimates of mutual information; none if empty.
        saturation: Names of logged weights. Where one is below 0.05, the estimate is saturated, and marked so.
    """

    title: str
    unit: str = "nats"
    panel: str = ""
    saturation: tuple[str, ...] = ()


class Method(nn.Module):
    """One way to learn: networks, objective, optimisers. Subclass it, and register the class (CONTRIBUTING.md).

    The typed arguments of the constructor are what a configuration may set. Two are taken from the data set unless
    given: `frame_shape`, (C, H, W) of clips or (n_mels,) of segments, and `sources`, the number of training sources.

    Attributes:
        players: The parts that have an optimiser of their own, in the order in which they step. With several, each
            is the name of a submodule; "model" is all that no other player has.
        needs: What `loss` uses besides the anchor: "motion", "content", "source", or factors; nothing else is made.
        takes_lengths: Whether `loss` takes records that differ in length, padded; if not, a training on them requires
            an excerpt of each.
        curves: How the terms of the loss are drawn, by name.
    """

    players: tuple[str, ...] = ("model",)
    needs: frozenset[str] = frozenset()
    takes_lengths: ClassVar[bool] = False
    curves: ClassVar[Mapping[str, Curve]] = {}

    def loss(self, views: Views, player: str) -> Loss:
        """The loss of a batch for one of the `players`."""
        raise NotImplementedError

    def parameters_of(self, player: str) -> Iterable[nn.Parameter]:
        """The parameters that a player moves: all of the method if it is alone, else as `players` says."""
        if player != "model" and len(self.players) > 1:
            return self.get_submodule(player).parameters()
        others = tuple(f"{other}." for other in self.players if other != player)
        return [parameter for name, parameter in self.named_parameters() if not name.startswith(others)]

    def optimizer(self, player: str, learning_rate: float) -> torch.optim.Optimizer:
        """The optimiser of a player; its rate is scheduled by the trainer."""
        return torch.optim.Adam(self.parameters_of(player), lr=learning_rate, betas=BETAS, fused=True)


class Encoder(Protocol):
    """A method that encodes. Beyond `loss`, all is optional; what needs a capability that is missing names it."""

    def encode(self, x: Tensor) -> Posterior:
        """The posterior of clips `[B, T, C, H, W]` in [0, 1], or of segments `[B, T, n_mels]` of mean 0."""


class Autoencoder(Encoder, Protocol):
    """A method with all that swaps and draws need."""

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        """Sequences of latents `[B, S]` and `[B, T, D]`."""

    def sample_static(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """`[n, S]` from the prior of s."""

    def sample_dynamic(self, n: int, length: int, generator: torch.Generator | None = None) -> Tensor:
        """`[n, length, D]` from the prior of z."""


class Sampler(Protocol):
    """A generator without an encoder."""

    def sample(self, n: int, length: int, generator: torch.Generator | None = None) -> Tensor:
        """Sequences `[n, length, ...]` from the priors."""


def missing_capabilities(method: nn.Module, *names: str) -> list[str]:
    """Which of these optional methods, such as `encode`, a method lacks.

    >>> missing_capabilities(Method(), "encode", "decode")
    ['encode', 'decode']
    """
    return [name for name in names if not callable(getattr(method, name, None))]


def require(method: nn.Module, *names: str, purpose: str) -> None:
    """Check that a method has capabilities; `purpose`, a plural, says what needs them.

    Raises:
        ValueError: If one is missing; the message names it.

    >>> require(Method(), "encode", purpose="latents")
    Traceback (most recent call last):
    ValueError: Method has no encode, which latents need (see seqviews.model.protocol)
    """
    for name in missing_capabilities(method, *names):
        raise ValueError(f"{type(method).__name__} has no {name}, which {purpose} need (see {__name__})")
