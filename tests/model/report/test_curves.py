from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seqviews.model.report import curves
from seqviews.model.report.curves import SATURATED, information_figure, read_log, terms_figure
from seqviews.model.report.images import Image

ESTIMATES = {"mi_static": 0.01, "mi_dynamic": 0.1, "mws_static": 1, "mws_dynamic": 10, "mi_between": 100}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """What is drawn, as matplotlib knows it."""
    seen: list[Figure] = []
    draw = curves._drawn

    def spy(figure: Figure) -> Image:
        seen.append(figure)
        return draw(figure)

    monkeypatch.setattr(curves, "_drawn", spy)
    return seen


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def log(of_s: list[float], of_z: list[float] | None = None) -> dict[str, np.ndarray]:
    """Rows every 25 steps, whose estimates are their number times 0.01, 0.1, 1, 10 and 100."""
    number = np.arange(1.0, len(of_s) + 1)
    estimates = {name: number * scale for name, scale in ESTIMATES.items()}
    weights = {"static_off_diagonal": np.array(of_s), "dynamic_off_diagonal": np.array(of_z or of_s)}
    return {"step": 25 * number, **estimates, **weights}


def test_reads_every_column_in_order_and_blanks_as_nothing(tmp_path: Path) -> None:
    columns = read_log(
        write(tmp_path / "log.csv", "epoch,loss,lr-Adam,step\n0,,0.5,24\n0,7.5,,24\n1,6,,100\n0,5,,50\n")
    )
    assert columns["step"].tolist() == [24, 24, 50, 100]
    assert columns["loss"][1:].tolist() == [7.5, 5, 6]
    assert np.isnan(columns["loss"][0])
    assert columns["lr-Adam"][0] == 0.5
    assert read_log(write(tmp_path / "none.csv", "loss,step\n")) == {}


def test_a_row_that_was_cut_is_left_out(tmp_path: Path) -> None:
    assert read_log(write(tmp_path / "log.csv", "loss,step\n5,25\n4"))["loss"].tolist() == [5]


@pytest.mark.parametrize("text", ["loss\n1\n", "loss,step\nhigh,2\n", "loss,step\n1,2,3\n"])
def test_what_is_no_log_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"log.csv is not the log of a training"):
        read_log(write(tmp_path / "log.csv", text))


def test_a_panel_for_every_column_with_its_points(figures: list[Figure]) -> None:
    known = log([0.5, 0.2, 0.1])
    image = terms_figure({**known, "epoch": known["step"], "loss": np.array([3.0, np.nan, 1.0]), "new": known["step"]})
    (figure,) = figures
    panels = {axes.get_title(): axes for axes in figure.axes}
    estimates = {"I(s; x), by InfoNCE", "I(z; x), by InfoNCE", "I(s; x), by weighted sampling"}
    estimates |= {"I(z; x), by weighted sampling", "I(s; z), by weighted sampling"}
    estimates |= {f"weight off the diagonal, of {latent}" for latent in ("s", "z")}
    assert set(panels) == {"loss", "new"} | estimates
    raw, mean = panels["loss"].lines
    assert np.asarray(raw.get_xydata()).tolist() == [[25, 3], [75, 1]]
    assert np.asarray(mean.get_xydata()).shape == (2, 2)
    assert image.dtype == np.uint8
    assert image.shape[2] == 3


def test_the_running_mean_is_that_of_the_points_around(figures: list[Figure]) -> None:
    values = np.random.default_rng(0).normal(size=60)
    terms_figure({"step": np.arange(60.0), "loss": values})
    mean = np.asarray(figures[0].axes[0].lines[1].get_ydata())
    reach = 60 // curves.MEANS // 2
    assert reach > 1
    assert mean == pytest.approx([values[max(0, i - reach) : i + reach + 1].mean() for i in range(60)])


def test_a_single_point_can_be_seen(figures: list[Figure]) -> None:
    terms_figure({"step": np.arange(3.0), "val_loss": np.array([np.nan, 2.0, np.nan])})
    assert figures[0].axes[0].lines[0].get_marker() == "o"


def dots(axes: Axes) -> list[list[float]]:
    """What is marked as saturated, once in the legend."""
    marked = [line for line in axes.lines if str(line.get_label()).startswith("saturated")]
    assert len(marked) < 2
    points: list[list[float]] = np.asarray(marked[0].get_xydata()).tolist() if marked else []
    return points


def test_each_curve_is_marked_where_it_is_saturated_and_i_of_s_and_z_where_either_is(figures: list[Figure]) -> None:
    of_s, of_z = [0.9, SATURATED / 2, 0.5, 0.0], [0.9, 0.3, SATURATED / 2, 0.0]
    information_figure(log(of_s, of_z), batch_size=32)
    contrasted, sampled, between = figures[0].axes
    assert dots(contrasted) == []
    assert dots(sampled) == [[50, 2], [100, 4], [75, 30], [100, 40]]
    assert dots(between) == [[50, 200], [75, 300], [100, 400]]
    for axes in (contrasted, sampled, between):
        assert math.log(32) in [float(np.asarray(line.get_ydata())[0]) for line in axes.lines]


def test_nothing_is_marked_where_nothing_is_saturated(figures: list[Figure]) -> None:
    information_figure(log([0.9, 0.5, 2 * SATURATED]), batch_size=None)
    assert [len(axes.lines) for axes in figures[0].axes] == [4, 4, 2]
