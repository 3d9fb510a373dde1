"""TrainConfig: all that decides a training, as `config.yaml` keeps it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import yaml

from seqviews.model.plain_data import dataclass_of, read_yaml
from seqviews.pipeline.stream.excerpt import Excerpt, Place
from seqviews.pipeline.stream.order import Last

PRESETS = Path(__file__).parents[1] / "presets"
CONFIG = "config.yaml"
Precision: TypeAlias = Literal["auto", "32-true", "bf16-mixed"]
Optimizer: TypeAlias = Literal["adam", "muon"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What decides a training: two with equal configurations, on equal machines, are equal bit for bit.

    Attributes:
        data: Folder or URL of a prepared data set.
        out: Folder of the run, new or empty.
        make_from: Digits, as for `prepare_smmnist`, that `data` was prepared from: every epoch trains on new clips of
            its training split, made from them, in place of the stored ones.
        model: `name` of a registered method, and arguments of its constructor. Two are taken from the data set unless
            given: `frame_shape` and `sources`.
        motion: `name` of a registered motion view, and its arguments; only for methods that need one.
        content: `name` of a registered content view, and its arguments; likewise.
        anchor: `name` of a registered motion view, and its arguments, that augments the clips themselves in training,
            before the views are computed from them: for data of few people or things. By default they are not.
        excerpt: `frames`, `step` and `place` of the excerpt of each record that a batch holds, as for `Excerpt`: by
            default the whole record, padded where records differ in length, if the method takes them. Validation and
            evaluation use the one in the centre.
        max_clips: Stop after so many clips or segments.
        batch_size: Clips or segments in a batch, over all processes.
        optimizer: adam is what the method chooses, Adam unless it says otherwise; muon is Muon for weights and Adam for
            other parameters, at the same learning rate.
        learning_rate: The highest that the schedule gives.
        min_frames: Reject data whose records are shorter.
        lanes: Shards that are read in parallel, at most all; the default of `SequenceStream` if None.
        window: Shards of a lane that are mixed; likewise. With few lanes and a window of 1, a batch has several
            segments of a recording, which methods that compare them require.
        last: What to do with a last batch that is not full: keep, drop or pad it.
        seed: Of weights, order, views and noise.
        patience: Stop after so many validations without a lower validation loss; None never stops.
        precision: As in Lightning; auto is bf16-mixed where the hardware multiplies it faster, else 32-true.
        devices: Processes of a machine, each with its part of every batch.
        nodes: Machines, on each of which torchrun or Slurm starts the same command.

    Raises:
        ValueError: If one of them is out of its range.

    Example:
        >>> config = TrainConfig.preset("sprites-compact", data="data/sprites", out="runs/sprites", max_clips=1000)
        >>> config.model["name"], config.batch_size, config.steps
        ('cdsvae', 32, 32)
    """

    data: str
    out: str
    make_from: str | None = None
    model: Mapping[str, Any] = field(default_factory=lambda: {"name": "cdsvae"})
    motion: Mapping[str, Any] | None = None
    content: Mapping[str, Any] | None = None
    anchor: Mapping[str, Any] | None = None
    excerpt: Mapping[str, Any] | None = None
    max_clips: int = 100_000
    batch_size: int = 64
    optimizer: Optimizer = "adam"
    learning_rate: float = 1e-3
    min_frames: int = 2
    lanes: int | None = None
    window: int | None = None
    last: Last = "keep"
    seed: int = 0
    patience: int | None = None
    precision: Precision = "auto"
    devices: int = 1
    nodes: int = 1

    def __post_init__(self) -> None:
        if min(self.batch_size, self.max_clips, self.devices, self.nodes) < 1 or self.seed < 0:
            raise ValueError("batch_size, max_clips, devices and nodes must be at least 1, seed at least 0")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience is {self.patience}: it must be at least 1, or left out")
        if not 0 <= self.learning_rate < math.inf:
            raise ValueError(f"learning_rate is {self.learning_rate}: it must be a number that is not negative")
        for name, kind in (("last", Last), ("precision", Precision), ("optimizer", Optimizer)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, not {getattr(self, name)!r}")
        if self.make_from is not None and (self.lanes, self.window, self.excerpt) != (None, None, None):
            raise ValueError("lanes, window and excerpt are for stored records: leave them out with make_from")
        self.excerpt_at()
        if self.processes > 1 and self.last == "keep":
            raise ValueError("several processes cannot share a last batch that is not full: use last pad or drop")
        if self.batch_size % self.processes:
            raise ValueError(f"a batch of {self.batch_size} cannot be divided evenly by {self.processes} processes")

    def excerpt_at(self, place: Place | None = None) -> Excerpt | None:
        """The excerpt of each record, at another place if one is given; None for whole records."""
        try:
            excerpt = None if self.excerpt is None else Excerpt(**self.excerpt)
        except TypeError as error:
            known = "frames, and optionally step and place"
            raise ValueError(f"excerpt is {dict(self.excerpt or {})}, not {known}: {error}") from None
        return excerpt if excerpt is None or place is None else replace(excerpt, place=place)

    @property
    def processes(self) -> int:
        """Processes on all machines."""
        return self.devices * self.nodes

    @property
    def steps(self) -> int:
        """How many batches `max_clips` are."""
        return -(-self.max_clips // self.batch_size)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> TrainConfig:
        """The configuration of a preset, or of a YAML file, with changes, at least `data` and `out`.

        Raises:
            ValueError: If there is no such preset or file, or it is not a configuration.
        """
        return cls.from_mapping({**read_yaml(preset_path(name)), **changes}, name)

    @classmethod
    def read(cls, path: Path) -> TrainConfig:
        """The configuration in a run's `config.yaml`.

        Raises:
            ValueError: If it is not there, or not a configuration.
        """
        if not path.is_file():
            raise ValueError(f"{path.parent} holds no {path.name}: it is not the --out of a training")
        return cls.from_mapping(read_yaml(path), str(path))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], source: str) -> TrainConfig:
        """The configuration of a mapping; `source` names it in messages.

        Raises:
            ValueError: If a name is unknown or missing, or a value of the wrong type.
        """
        return dataclass_of(cls, values, source)

    def to_yaml(self) -> str:
        """The text of `config.yaml`."""
        return yaml.safe_dump(
            json.loads(json.dumps(asdict(self), default=lambda value: value.tolist())), sort_keys=False
        )


def presets() -> list[str]:
    """The names of the presets.

    >>> presets()[:2]
    ['cdsvae-timit-compact', 'demo']
    """
    return sorted(path.stem for path in PRESETS.glob("*/*.yaml"))


def preset_path(name: str) -> Path:
    """The file of a preset, or the file of this path.

    Raises:
        ValueError: If there is neither.
    """
    for path in PRESETS.glob("*/*.yaml"):
        if path.stem == name:
            return path
    if (path := Path(name)).is_file():
        return path
    raise ValueError(f"no preset {name} and no such file; presets: {', '.join(presets())}")
