"""Experiment: a table of a paper as a YAML file says it: its data, columns and rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, get_args

from seqviews.model.evaluate.task import EvaluateConfig
from seqviews.model.plain_data import dataclass_of, read_yaml
from seqviews.model.train.config import TrainConfig, preset_path

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
RAW = "{raw}"
GIVEN = ("data", "out", "seed")  # to `reproduce`
OPTIONS = [f.name for f in fields(EvaluateConfig) if str(f.type).startswith("int")]  # numbers that a YAML file may set
Scale: TypeAlias = Literal["compact", "paper"]


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
        overrides: Fields of `TrainConfig` that differ from it; those of model, motion, content and anchor are merged.
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

    def train_config(self, scale: Scale, shared: Mapping[str, Any], **given: Any) -> TrainConfig:
        """The training of the row.

        Args:
            scale: Of which configuration.
            shared: Fields that all rows of the experiment have, before `overrides`.
            given: Fields that are set last, at least `data` and `out`.

        Raises:
            ValueError: If there is no configuration of this scale, or it is not one.
        """
        if scale not in self.config:
            raise ValueError(f"the row {self.name} has no configuration for --scale {scale}")
        try:
            values = {**read_yaml(preset_path(self.config[scale])), **shared}
            for name, value in self.overrides.items():
                merged = isinstance(value, Mapping) and isinstance(values.get(name), Mapping) and "name" not in value
                values[name] = {**values[name], **value} if merged else value
            return TrainConfig.from_mapping({**values, **given}, f"{self.config[scale]} with its overrides")
        except ValueError as error:
            raise ValueError(f"the row {self.name}: {error}") from None


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
        prepare_at: More of these arguments, by scale.
        training: Fields of `TrainConfig` that all rows have on data that `prepare` made, `{raw}` as there.
        baseline: Name of the row with which the others are compared in pairs, for speech.
        evaluation: Options of `seqviews evaluate`, such as `judge_steps`.
        differs: Sentences on what differs from the paper.
    """

    name: str
    title: str
    columns: list[Column]
    rows: list[Row]
    prepare: list[str | int] = field(default_factory=list)
    prepare_at: Mapping[str, list[str | int]] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    baseline: str | None = None
    evaluation: Mapping[str, int] = field(default_factory=dict)
    differs: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, name: str) -> Self:
        """The experiment of a name, as in `experiments()`, or of a YAML file.

        Raises:
            ValueError: If there is neither, or the file has an unknown key, lacks one, or has a value that is wrong.

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
            values[key] = [dataclass_of(kind, value, f"{path}, {key} {i}") for i, value in enumerate(values[key], 1)]
        experiment = dataclass_of(cls, values, str(path))
        for problem in experiment._problems():
            raise ValueError(f"{path} {problem}")
        return experiment

    def preparation(self, scale: Scale, raw: str) -> list[str]:
        """The tool that prepares the data of a scale from a folder of raw data, and its arguments."""
        return [str(argument).replace(RAW, raw) for argument in [*self.prepare, *self.prepare_at.get(scale, [])]]

    def training_on(self, raw: str) -> dict[str, Any]:
        """`training` with the folder of raw data."""
        return {
            name: value.replace(RAW, raw) if isinstance(value, str) else value for name, value in self.training.items()
        }

    def _problems(self) -> Iterator[str]:
        """What is wrong with it besides keys and types."""
        for column in self.columns:
            if not column.metrics:
                yield f"names no metrics for the column {column.title!r}"
        shown = {column.published for column in self.columns}
        for row in self.rows:
            for name in row.published.keys() - shown:
                yield f"has a published {name[:100]} of {row.name}, which no column shows"
        slugs = [row.slug for row in self.rows]
        if len(set(slugs)) < len(slugs):
            yield "has two rows of one name"
        if self.baseline is not None and self.baseline not in {row.name for row in self.rows}:
            yield f"has no row {self.baseline}, which is its baseline"
        tool = str(self.prepare[0])[:100] if self.prepare else "prepare_"
        if not tool.startswith("prepare_"):
            yield f"prepares with {tool!r}, which is not a preparation tool such as prepare_folder"
        for scale in {scale for scales in (self.prepare_at, *(row.config for row in self.rows)) for scale in scales}:
            if scale not in get_args(Scale):
                yield f"has something for the scale {scale[:100]!r}: scales are {', '.join(get_args(Scale))}"
        for name in {name for changes in (self.training, *(row.overrides for row in self.rows)) for name in changes}:
            if name in GIVEN:
                yield f"sets {name}, which is an argument of reproduce: leave it out"
        for name, value in self.evaluation.items():
            if name not in OPTIONS or value < (0 if name == "seed" else 1):
                yield f"sets {name[:100]} to {value} in evaluation: it takes positive numbers for {', '.join(OPTIONS)}"


def experiments() -> list[str]:
    """The names of the experiments that come with the package.

    >>> experiments()[0]
    'table1'
    """
    return sorted(path.stem for path in EXPERIMENTS.glob("*.yaml"))
