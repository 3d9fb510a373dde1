"""The table of an experiment: our metrics over seeds beside the published ones, as Markdown, JSON and a page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from seqviews.model.report.html import MISSING, Panel, render
from seqviews.model.reproduce.experiment import Column, Experiment, Row
from seqviews.pipeline.files import write_atomically

TOLERANCE = 0.005  # of an inception score; published entropies have three digits
DIFFERENCE = "baseline_difference/"
BROKEN = "*"
HELD = "real records, one frame of each held (attack)"
SEEDS = "Values are means over seeds, with the lowest and the highest in brackets."
IDENTITY = f"{BROKEN} does not keep to IS = exp(H(y) - H(y|x)), which holds by definition."


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What the runs of a row gave.

    Attributes:
        metrics: Of the evaluation of each seed.
        parameters: Of the method.
        records: Records that each was trained on.
        reports: The reports of the evaluations, relative to the table.
        panel: Of the first evaluation, the image that shows most.
    """

    metrics: Sequence[Mapping[str, float]]
    parameters: int
    records: Sequence[int]
    reports: Sequence[str] = ()
    panel: Panel | None = None

    def values(self, column: Column, prefix: str = "") -> list[float]:
        """The column's metric of each seed; empty if the row has none of its names."""
        for name in column.metrics:
            values = [metrics[prefix + name] for metrics in self.metrics if prefix + name in metrics]
            if values:
                return values
        return []


def keeps_identity(published: Mapping[str, float]) -> bool:
    """Whether a published inception score is `exp(H(y) - H(y|x))`, up to rounding; True if it is not given.

    >>> keeps_identity({"inception_score": 8.871, "intra_entropy": 0.014, "inter_entropy": 2.197})
    True
    >>> keeps_identity({"inception_score": 8.461, "intra_entropy": 0.090, "inter_entropy": 2.192})
    False
    """
    if not published.keys() >= {"inception_score", "intra_entropy", "inter_entropy"}:
        return True
    expected = math.exp(published["inter_entropy"] - published["intra_entropy"])
    return abs(published["inception_score"] / expected - 1) <= TOLERANCE


class Table:
    """An experiment and what was measured.

    Args:
        experiment: The experiment.
        measured: By the names of its rows.
        about: What was done, by heading.
    """

    def __init__(self, experiment: Experiment, measured: Mapping[str, Measured], about: Mapping[str, str]) -> None:
        self.experiment, self.measured, self.about = experiment, measured, about

    @property
    def titles(self) -> list[str]:
        """Of the columns."""
        return ["", *(column.title for column in self.experiment.columns), "parameters", "records seen"]

    def lines(self) -> list[list[str]]:
        """The rows of cells: ours and the published one of each method, then what the judge says of real records."""
        lines: list[list[str]] = []
        for row in self.experiment.rows:
            measured = self.measured[row.name]
            ours = [_over_seeds(measured.values(column), column) for column in self.experiment.columns]
            seen = " to ".join(f"{count:,}" for count in sorted({min(measured.records), max(measured.records)}))
            lines.append([row.name, *ours, f"{measured.parameters:,}", seen])
            if row.published:
                lines.append([f"{row.name}, {row.source}", *self._published(row), "", ""])
            if differences := self._differences(measured):
                lines.append([f"{row.name} minus {self.experiment.baseline}", *differences, "", ""])
        ceilings = [column.ceiling or "" for column in self.experiment.columns]
        held = [name.replace("real/", "held/") if name.startswith("real/") else "" for name in ceilings]
        for title, names in {"real records (the judge's ceiling)": ceilings, HELD: held}.items():
            cells = self._of_real(names)
            if title != HELD or set(cells) != {MISSING}:
                lines.append([title, *cells, "", ""])
        return lines

    def _of_real(self, names: Sequence[str]) -> list[str]:
        """Metrics of real records, which are the same for all rows, by their names, one a column."""
        first, columns = next(iter(self.measured.values())), self.experiment.columns
        found = (first.values(Column(title="", metrics=[name])) for name in names)
        return [_over_seeds(values, column) for values, column in zip(found, columns, strict=True)]

    def _published(self, row: Row) -> list[str]:
        broken = BROKEN if not keeps_identity(row.published) else ""
        cells = []
        for column in self.experiment.columns:
            value = row.published.get(column.published or "")
            mark = broken if column.published == "inception_score" else ""
            cells.append(MISSING if value is None else _formatted(value, column) + mark)
        return cells

    def _differences(self, measured: Measured) -> list[str]:
        """The difference from the baseline and its paired interval, of each seed."""
        columns = self.experiment.columns
        if not any(measured.values(column, DIFFERENCE) for column in columns):
            return []
        cells = []
        for column in columns:
            name = f"{DIFFERENCE}{column.metrics[0]}"
            found = [m for m in measured.metrics if m.keys() >= {name, f"{name}_low", f"{name}_high"}]
            each = [[_formatted(m[name + end], column) for end in ("", "_low", "_high")] for m in found]
            cells.append("; ".join(f"{value} [{low}, {high}]" for value, low, high in each) or MISSING)
        return cells

    @property
    def notes(self) -> list[str]:
        """Sentences below the table."""
        broken = [row.name for row in self.experiment.rows if not keeps_identity(row.published)]
        return [SEEDS, *([f"{IDENTITY} ({', '.join(broken)})"] if broken else []), *self.experiment.differs]

    def markdown(self) -> str:
        """The table as Markdown, with its notes."""
        rows = [self.titles, ["---"] * len(self.titles), *self.lines()]
        table = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
        notes = "\n".join(f"- {note}" for note in self.notes)
        about = "\n".join(f"- {heading}: {text}" for heading, text in self.about.items())
        return f"# {self.experiment.title}\n\n{table}\n\n{notes}\n\n{about}\n"

    def as_dict(self) -> dict[str, Any]:
        """The metrics of every seed and the published values, by row."""
        rows = {
            row.name: {
                "seeds": [dict(metrics) for metrics in self.measured[row.name].metrics],
                "published": dict(row.published),
                "source": row.source,
                "keeps_identity": keeps_identity(row.published),
                "parameters": self.measured[row.name].parameters,
                "records": list(self.measured[row.name].records),
            }
            for row in self.experiment.rows
        }
        columns = {column.title: column.metrics for column in self.experiment.columns}
        return {"title": self.experiment.title, "columns": columns, "rows": rows, "about": dict(self.about)}

    def write(self, folder: Path) -> None:
        """Write `table.md`, `table.json` and `report.html`."""
        page = render("table.html", table=self)
        files = {"table.md": self.markdown(), "table.json": json.dumps(self.as_dict(), indent=1) + "\n"}
        for name, text in {**files, "report.html": page}.items():
            write_atomically(folder / name, text.encode())


def _formatted(value: float, column: Column) -> str:
    return f"{value:.2%}" if column.percent else f"{value:.3f}"


def _over_seeds(values: Sequence[float], column: Column) -> str:
    """The mean, and with several seeds the lowest and the highest."""
    if not values:
        return MISSING
    ends = f" [{_formatted(min(values), column)}, {_formatted(max(values), column)}]" if len(values) > 1 else ""
    return f"{_formatted(fmean(values), column)}{ends}"
