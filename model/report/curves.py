"""Learning curves of a run, read from its log [P figures 6, 14, 15]."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from seqviews.model.protocol import Curve
from seqviews.model.report.images import Image

INFORMATION = frozenset(
    {
        "mi_static",
        "mi_dynamic",
        "mws_static",
        "mws_dynamic",
        "mi_between",
        "static_off_diagonal",
        "dynamic_off_diagonal",
    }
)
SATURATED = 0.05  # weight off the diagonal below which an estimate by weighted sampling is all but log M
MEANS = 12  # a curve's running mean is over this part of it
COLUMNS, DPI = 3, 150
COLOURS = {"static": "#1f5fa8", "dynamic": "#c2570c", "between": "#4b7a2b", "saturated": "#b3261e"}
NOT_A_CURVE = ("step", "epoch")
TITLES = {
    "loss": "loss",
    "val_loss": "loss on the validation split",
    "reconstruction": "reconstruction",
    "kl_static": "KL of s",
    "kl_dynamic": "KL of z",
    "mi_static": "I(s; x), by InfoNCE",
    "mi_dynamic": "I(z; x), by InfoNCE",
    "mws_static": "I(s; x), by weighted sampling",
    "mws_dynamic": "I(z; x), by weighted sampling",
    "mi_between": "I(s; z), by weighted sampling",
    "static_off_diagonal": "weight off the diagonal, of s",
    "dynamic_off_diagonal": "weight off the diagonal, of z",
    "gradient_norm": "norm of the gradients",
    "learning_rate": "learning rate",
}

Log: TypeAlias = Mapping[str, NDArray[np.float64]]
"""Columns by name, each as long as `step`; NaN where a row has no figure."""


def read_log(path: Path) -> dict[str, NDArray[np.float64]]:
    """The columns of a run's `log/metrics.csv`, in the order of the steps; none if it has no rows.

    A row without its step, as a run that was killed may leave behind, is left out.

    Raises:
        ValueError: If it is not a table of numbers with a column `step`.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        columns = {name: np.array([float(row[name] or "nan") for row in rows]) for name in (rows[0] if rows else ())}
        steps = columns["step"] if rows else np.empty(0)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path} is not the log of a training: a table of numbers with a column step") from None
    order = steps.argsort(kind="stable")[: np.isfinite(steps).sum()]  # NaN comes last
    return {name: column[order] for name, column in columns.items()}


def terms_figure(log: Log, curves: Mapping[str, Curve]) -> Image:
    """A plot of every column of the log.

    Args:
        log: As `read_log` returns it.
        curves: Titles and units of the method's terms, `Method.curves`.
    """
    raise NotImplementedError


def information_figure(log: Log, curves: Mapping[str, Curve], batch_size: int | None) -> Image | None:
    """Estimates of mutual information, a plot for each `Curve.panel`; None if no logged term has one.

    Args:
        log: As `read_log` returns it.
        curves: `Method.curves`.
        batch_size: M, whose logarithm no estimate can exceed: a dashed line; None if it is not known.
    """
    raise NotImplementedError


def error_figure(
    results: Mapping[str, tuple[NDArray[np.float32], NDArray[np.bool_], float]], titles: Mapping[str, str]
) -> Image:
    """Both error rates of speaker verification over the threshold, which cross at the equal error rate.

    Args:
        results: By name: scores `[N]`, whether both recordings are of one speaker `[N]`, and the equal error rate.
        titles: By the same names; plots are in their order, two a row. Names without a result are skipped.
    """
    raise NotImplementedError


def _mark_saturated(axes: Axes, log: Log, weights: Mapping[str, NDArray[np.float64]]) -> None:
    """Dots where a curve is saturated, by the weight off the diagonal that its column depends on."""
    places = [(name, weight < SATURATED) for name, weight in weights.items()]
    steps = np.concatenate([log["step"][there] for _, there in places])
    values = np.concatenate([log[name][there] for name, there in places])
    if len(steps):
        axes.plot(steps, values, ".", color=COLOURS["saturated"], markersize=4, label="saturated: means nothing")


def _curve(axes: Axes, log: Log, name: str, colour: str, label: str | None = None) -> None:
    """A column over the steps, faint, and its running mean."""
    there = np.isfinite(log[name])
    steps, values = log["step"][there], log[name][there]
    axes.plot(steps, values, color=colour, alpha=0.3, linewidth=1, marker="o" if len(values) == 1 else "")
    places, reach = np.arange(len(values)), len(values) // MEANS // 2
    sums = np.concatenate([[0.0], values.cumsum()])
    first, behind = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(values))
    axes.plot(steps, (sums[behind] - sums[first]) / (behind - first), color=colour, linewidth=1.6, label=label)
    axes.set_xlabel("step", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _drawn(figure: Figure) -> Image:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib has no types here
    pixels: Any = canvas.renderer.buffer_rgba()
    return np.asarray(pixels)[..., :3].copy()
