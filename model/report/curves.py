"""Plots of a run: learning curves from its log [P figures 6, 14, 15], and error rates of verification."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from seqviews.model.protocol import Curve
from seqviews.model.report.images import Image, rasterise

SATURATED = 0.05  # off-diagonal weight below which an estimate by weighted sampling is all but log M
MEANS = 12  # a curve's running mean is over this part of it
COLUMNS, DPI = 3, 150
COLOURS = ("#1f5fa8", "#c2570c", "#4b7a2b", "#7b3f98", "#00707a")
SATURATED_COLOUR = "#b3261e"
NOT_DRAWN = ("step", "records", "epoch")
FIRST = {"loss": Curve("loss"), "val_loss": Curve("loss on the validation split")}
LAST = {"gradient_norm": Curve("norm of the gradients", unit=""), "learning_rate": Curve("learning rate", unit="")}

Log: TypeAlias = Mapping[str, NDArray[np.float64]]
"""Columns by name, each as long as `step`; NaN where a row has no value. Curves are over `records`, if there are."""


def read_log(path: Path) -> dict[str, NDArray[np.float64]]:
    """The columns of a run's `log/metrics.csv`, in the order of the steps; empty if it has no rows.

    A row without its step, as a killed run may leave behind, is skipped.

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
    """A plot of every column of a log: the loss, its terms, titled by `Method.curves`, and what else was logged."""
    order = [*FIRST, *curves, *LAST]
    ranks = {name: order.index(known) if (known := _known(name, order)) else len(order) for name in log}
    names = sorted((name for name in log if name not in NOT_DRAWN), key=lambda name: (ranks[name], name))
    rows = math.ceil(len(names) / COLUMNS)
    figure = Figure(figsize=(11, 2.3 * rows), dpi=DPI, layout="constrained")
    for place, name in enumerate(names, start=1):
        axes, curve = figure.add_subplot(rows, COLUMNS, place), _described(name, curves)
        axes.set_title(curve.title, fontsize=10, parse_math=False)
        axes.set_ylabel(curve.unit, fontsize=9, parse_math=False)
        _plot(axes, log, name, COLOURS[0])
        shown = log[name][np.isfinite(log[name])]
        if len(shown) and shown.min() > 0 and shown.max() > 5 * shown.min():
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
    return rasterise(figure)


def _known(name: str, known: Sequence[str]) -> str | None:
    """The column among `known` that a column is, or is of one player: `loss/critic` is a `loss`."""
    return next((candidate for candidate in (name, name.partition("/")[0]) if candidate in known), None)


def _described(name: str, curves: Mapping[str, Curve]) -> Curve:
    """How a column is drawn on its own, with all that tells it from others in its title."""
    described = {**FIRST, **curves, **LAST}
    known = _known(name, list(described))
    if known is None:
        return Curve(name, unit="")
    curve, player = described[known], name[len(known) + 1 :]
    return replace(curve, title=", ".join(filter(None, [curve.title, curve.panel, player])))


def information_figure(log: Log, curves: Mapping[str, Curve], batch_size: int | None) -> Image | None:
    """Estimates of mutual information, a plot for each `Curve.panel`; None if no logged term has one.

    Where one of the weights in `Curve.saturation` is below `SATURATED`, an estimate is marked: it is then close to its
    upper bound log M, whatever the true value. See `information.mws_information`. A dashed line is at log M, if the
    batch size M is known.
    """
    drawn = {name: curve for name, curve in curves.items() if curve.panel and name in log}
    if not drawn:
        return None
    panels = list(dict.fromkeys(curve.panel for curve in drawn.values()))
    titles = list(dict.fromkeys(curve.title for curve in drawn.values()))
    rows = math.ceil(len(panels) / COLUMNS)
    figure = Figure(figsize=(11, 3.6 * rows), dpi=DPI, layout="constrained")
    for place, panel in enumerate(panels):
        axes = figure.add_subplot(rows, min(len(panels), COLUMNS), place + 1, sharey=figure.axes[0] if place else None)
        shown = {name: curve for name, curve in drawn.items() if curve.panel == panel}
        axes.set_title(panel, fontsize=10, parse_math=False)
        for name, curve in shown.items():
            _plot(axes, log, name, COLOURS[titles.index(curve.title) % len(COLOURS)], curve.title)
        _mark_saturated(axes, log, shown)
        if place % COLUMNS == 0:
            axes.set_ylabel(" or ".join(dict.fromkeys(curve.unit for curve in shown.values())), parse_math=False)
        if batch_size is not None:
            label = f"log M = {math.log(batch_size):.2f}, the maximum"
            axes.axhline(math.log(batch_size), color="#555555", linewidth=1, linestyle="--", label=label)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        _legend(axes)
    return rasterise(figure)


def _mark_saturated(axes: Axes, log: Log, curves: Mapping[str, Curve]) -> None:
    """Dots where a curve is saturated."""
    steps, values = [np.empty(0)], [np.empty(0)]
    for name, curve in curves.items():
        if weights := [log[weight] for weight in curve.saturation if weight in log]:
            saturated = np.min(weights, axis=0) < SATURATED
            steps.append(_seen(log)[saturated])
            values.append(log[name][saturated])
    if len(np.concatenate(steps)):
        label = "saturated: not informative"
        axes.plot(np.concatenate(steps), np.concatenate(values), ".", color=SATURATED_COLOUR, markersize=4, label=label)


def error_figure(
    results: Mapping[str, tuple[NDArray[np.float32], NDArray[np.bool_], float]], titles: Mapping[str, str]
) -> Image:
    """Both error rates of speaker verification over the threshold, which cross at the equal error rate.

    Args:
        results: By name: scores `[N]`, whether both recordings are of one speaker `[N]`, and the equal error rate.
        titles: By the same names; plots are in their order, two a row. Names without a result are skipped.
    """
    names = [name for name in titles if name in results]
    rows = math.ceil(len(names) / 2)
    figure = Figure(figsize=(11, 3.1 * rows), dpi=DPI, layout="constrained")
    for place, name in enumerate(names):
        scores, same, rate = results[name]
        accepted, found, thresholds = roc_curve(same, scores)
        shown = np.unique(np.linspace(1, len(thresholds) - 1, 2000).astype(int))  # the first threshold is infinite
        axes, colour = figure.add_subplot(rows, 2, place + 1), COLOURS[place % 2]
        axes.plot(thresholds[shown], accepted[shown], color=colour, label="other speakers accepted")
        axes.plot(thresholds[shown], 1 - found[shown], color=colour, linestyle="--", label="the speaker rejected")
        axes.axhline(rate, color="#555555", linewidth=1, linestyle=":", label=f"EER {rate:.1%}")
        axes.set_title(titles[name], fontsize=10, parse_math=False)
        axes.set_xlabel("threshold of the cosine", fontsize=9)
        axes.set_ylabel("error rate", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        _legend(axes)
    return rasterise(figure)


def _plot(axes: Axes, log: Log, name: str, colour: str, label: str | None = None) -> None:
    """A column over the records seen or the steps, faint, and its running mean."""
    there = np.isfinite(log[name])
    steps, values = _seen(log)[there], log[name][there]
    axes.plot(steps, values, color=colour, alpha=0.3, linewidth=1, marker="o" if len(values) == 1 else "")
    places, reach = np.arange(len(values)), len(values) // MEANS // 2
    sums = np.concatenate([[0.0], values.cumsum()])
    first, end = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(values))
    axes.plot(steps, (sums[end] - sums[first]) / (end - first), color=colour, linewidth=1.6, label=label)
    axes.set_xlabel("records seen" if "records" in log else "step", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _seen(log: Log) -> NDArray[np.float64]:
    return log["records"] if "records" in log else log["step"]


def _legend(axes: Axes) -> None:
    legend = axes.legend(fontsize=8, loc="best", edgecolor="none", framealpha=0.85)
    for text in legend.get_texts():
        text.set_parse_math(False)
