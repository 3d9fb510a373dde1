"""Experiment: a table of a paper as a YAML file says it: its data, columns and rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, TypeVar

from seqviews.model.train.config import TrainConfig, preset_path, read_yaml

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
Scale: TypeAlias = Literal["compact", "paper"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        title: Above it.
        metrics: Names in `metrics.json`, of which the first that a row has is shown.
        ceiling: That of the judge on real records, if there is one.
        published: Name of the value in `Row.published`, if the paper has the column.
        percent: Whether it is shown as a percentage.
    """

    title: str
    metrics: list[str]
    ceiling: str | None = None
    published: str | None = None
    percent: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A method of a table.

    Attributes:
        name: As in the table.
        config: Preset, or path of a YAML file, by scale.
        overrides: Fields of `TrainConfig` that differ from it; those of model, motion and content are merged.
        published: Values by the names that columns have.
        source: Where they were published.
    """

    name: str
    config: Mapping[str, str]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)
    source: str = ""

    @property
    def slug(self) -> str:
        """The name as that of a folder."""
        return "".join(c if c.isalnum() else "-" for c in self.name.lower()).strip("-")

    def train_config(self, scale: Scale, data: str, out: str, seed: int, max_clips: int | None = None) -> TrainConfig:
        """The training of the row.

        Raises:
            ValueError: If there is no configuration of this scale, or it is not one.
        """
        if scale not in self.config:
            raise ValueError(f"the row {self.name} has no configuration for --scale {scale}")
        values = dict(read_yaml(preset_path(self.config[scale])))
        for name, value in self.overrides.items():
            merged = isinstance(value, Mapping) and isinstance(values.get(name), Mapping) and "name" not in value
            values[name] = {**values[name], **value} if merged else value
        values |= {"data": data, "out": out, "seed": seed}
        if max_clips is not None:
            values["max_clips"] = max_clips
        return TrainConfig.from_mapping(values, f"the row {self.name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A table.

    Attributes:
        name: Of the file, without its extension.
        title: Of the table.
        columns: Its columns.
        rows: Its rows.
        prepare: The preparation tool and its arguments, in which `{raw}` is the folder of raw data; empty if the data
            set has to be prepared before.
        baseline: Name of the row with which the others are compared in pairs, for speech.
        evaluation: Options of `seqviews evaluate`, such as `judge_steps`.
        differs: Sentences on what differs from the paper.
    """

    name: str
    title: str
    columns: list[Column]
    rows: list[Row]
    prepare: list[str] = field(default_factory=list)
    baseline: str | None = None
    evaluation: Mapping[str, int] = field(default_factory=dict)
    differs: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, name: str) -> Self:
        """The experiment of a name, as in `experiments()`, or of a YAML file.

        Raises:
            ValueError: If there is neither, or the file has an unknown key, lacks one, or has a value of another type.

        Example:
            >>> Experiment.read("table4").columns[0].title
            'content EER'
        """
        path = next((path for path in (EXPERIMENTS / f"{name}.yaml", Path(name)) if path.is_file()), None)
        if path is None:
            raise ValueError(f"no experiment {name} and no such file; experiments: {', '.join(experiments())}")
        values = {"name": path.stem, **read_yaml(path)}
        for key, kind in {"columns": Column, "rows": Row}.items():
            if not isinstance(values.get(key), list) or not values[key]:
                raise ValueError(f"{path} has no {key}: it is not an experiment")
            values[key] = [_build(kind, value, f"{path}, {key} {i}") for i, value in enumerate(values[key], 1)]
        experiment = _build(cls, values, str(path))
        names = [row.slug for row in experiment.rows]
        if len(set(names)) < len(names):
            raise ValueError(f"{path} has two rows of one name")
        if experiment.baseline is not None and experiment.baseline not in {row.name for row in experiment.rows}:
            raise ValueError(f"{path} has no row {experiment.baseline}, which is its baseline")
        return experiment


def experiments() -> list[str]:
    """The names of the experiments that come with the package.

    >>> experiments()[0]
    'table1'
    """
    return sorted(path.stem for path in EXPERIMENTS.glob("*.yaml"))


def _build(kind: type[T], values: Any, where: str) -> T:
    """A dataclass of a mapping, with a message that names what is wrong."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} is not a mapping")
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]  # all of them are dataclasses
    if unknown := sorted(str(name)[:100] for name in values.keys() - known.keys()):
        raise ValueError(f"{where} has an unknown key {unknown[0]!r}; known: {', '.join(known)}")
    types = {"str": str, "bool": bool, "list": list, "Mapping": Mapping}
    for name, value in values.items():
        annotation = str(known[name].type)
        expected = types[annotation.partition("[")[0].partition(" ")[0]]
        if not isinstance(value, expected) and not (value is None and "None" in annotation):
            raise ValueError(f"{where}: {name} is {str(value)[:100]!r}, not {annotation}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{where}: {str(error).partition('() ')[2]}") from None
