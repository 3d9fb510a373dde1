from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seqviews.model.protocol import Curve
from seqviews.model.report import curves
from seqviews.model.report.curves import SATURATED, error_figure, information_figure, read_log, terms_figure
from seqviews.model.report.images import Image

ESTIMATES = {"mi_static": 0.01, "mi_dynamic": 0.1, "mws_static": 1, "mws_dynamic": 10, "mi_between": 100}
OF_S, OF_Z = "static_off_diagonal", "dynamic_off_diagonal"
CURVES = {
    "mi_static": Curve("I(s; x)", panel="by InfoNCE"),
    "mi_dynamic": Curve("I(z; x)", panel="by InfoNCE"),
    "mws_static": Curve("I(s; x)", panel="weighted", saturation=(OF_S,)),
    "mws_dynamic": Curve("I(z; x)", panel="weighted", saturation=(OF_Z,)),
    "mi_between": Curve("I(s; z)", "bits", panel="of each other", saturation=(OF_S, OF_Z)),
    OF_S: Curve("off-diagonal weight of s", unit=""),
    OF_Z: Curve("off-diagonal weight of z", unit=""),
}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn."""
    seen: list[Figure] = []
    draw = curves.rasterise

    def spy(figure: Figure) -> Image:
        seen.append(figure)
        return draw(figure)

    monkeypatch.setattr(curves, "rasterise", spy)
    return seen


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def log(of_s: list[float], of_z: list[float] | None = None) -> dict[str, np.ndarray]:
    """Rows every 25 steps, whose estimates are their number times 0.01, 0.1, 1, 10 and 100."""
    number = np.arange(1.0, len(of_s) + 1)
    estimates = {name: number * scale for name, scale in ESTIMATES.items()}
    weights = {OF_S: np.array(of_s), OF_Z: np.array(of_z or of_s)}
    return {"step": 25 * number, **estimates, **weights}


def test_columns_are_in_order_and_blanks_are_nan(tmp_path: Path) -> None:
    columns = read_log(
        write(tmp_path / "log.csv", "epoch,loss,lr-Adam,step\n0,,0.5,24\n0,7.5,,24\n1,6,,100\n0,5,,50\n")
    )
    assert columns["step"].tolist() == [24, 24, 50, 100]
    assert columns["loss"][1:].tolist() == [7.5, 5, 6]
    assert np.isnan(columns["loss"][0])
    assert columns["lr-Adam"][0] == 0.5
    assert read_log(write(tmp_path / "none.csv", "loss,step\n")) == {}


def test_a_truncated_row_is_skipped(tmp_path: Path) -> None:
    assert read_log(write(tmp_path / "log.csv", "loss,step\n5,25\n4"))["loss"].tolist() == [5]


@pytest.mark.parametrize("text", ["loss\n1\n", "loss,step\nhigh,2\n", "loss,step\n1,2,3\n"])
def test_a_file_that_is_no_log_raises(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"log.csv is not the log of a training"):
        read_log(write(tmp_path / "log.csv", text))


def test_a_plot_for_every_column_with_its_points(figures: list[Figure]) -> None:
    known = log([0.5, 0.2, 0.1])
    step = known["step"]
    general = {"loss": np.array([3.0, np.nan, 1.0]), "loss/critic": step, "gradient_norm/critic": step, "new $x$": step}
    image = terms_figure({**known, **general, "epoch": step}, CURVES)
    (figure,) = figures
    plots = {axes.get_title(): axes for axes in figure.axes}
    assert {title: axes.get_ylabel() for title, axes in plots.items()} == {
        "loss": "nats",
        "loss, critic": "nats",
        "I(s; x), by InfoNCE": "nats",
        "I(z; x), by InfoNCE": "nats",
        "I(s; x), weighted": "nats",
        "I(z; x), weighted": "nats",
        "I(s; z), of each other": "bits",
        "off-diagonal weight of s": "",
        "off-diagonal weight of z": "",
        "norm of the gradients, critic": "",
        "new $x$": "",
    }
    assert list(plots)[:3] == ["loss", "loss, critic", "I(s; x), by InfoNCE"]
    assert list(plots)[-1] == "new $x$"
    raw, mean = plots["loss"].lines
    assert np.asarray(raw.get_xydata()).tolist() == [[25, 3], [75, 1]]
    assert np.asarray(mean.get_xydata()).shape == (2, 2)
    assert image.dtype == np.uint8
    assert image.shape[2] == 3


def test_the_running_mean_is_that_of_the_points_around(figures: list[Figure]) -> None:
    values = np.random.default_rng(0).normal(size=60)
    terms_figure({"step": np.arange(60.0), "loss": values}, {})
    mean = np.asarray(figures[0].axes[0].lines[1].get_ydata())
    reach = 60 // curves.MEANS // 2
    assert reach > 1
    assert mean == pytest.approx([values[max(0, i - reach) : i + reach + 1].mean() for i in range(60)])


def test_a_single_point_can_be_seen(figures: list[Figure]) -> None:
    terms_figure({"step": np.arange(3.0), "val_loss": np.array([np.nan, 2.0, np.nan])}, {})
    assert figures[0].axes[0].lines[0].get_marker() == "o"


def dots(axes: Axes) -> list[list[float]]:
    """What is marked as saturated, once in the legend."""
    marked = [line for line in axes.lines if str(line.get_label()).startswith("saturated")]
    assert len(marked) < 2
    points: list[list[float]] = np.asarray(marked[0].get_xydata()).tolist() if marked else []
    return points


def test_a_curve_is_marked_where_any_of_its_weights_is_low(figures: list[Figure]) -> None:
    of_s, of_z = [0.9, SATURATED / 2, 0.5, 0.0], [0.9, 0.3, SATURATED / 2, 0.0]
    assert information_figure(log(of_s, of_z), CURVES, batch_size=32) is not None
    contrasted, sampled, between = figures[0].axes
    assert [axes.get_title() for axes in figures[0].axes] == ["by InfoNCE", "weighted", "of each other"]
    assert dots(contrasted) == []
    assert dots(sampled) == [[50, 2], [100, 4], [75, 30], [100, 40]]
    assert dots(between) == [[50, 200], [75, 300], [100, 400]]
    for axes in (contrasted, sampled, between):
        assert math.log(32) in [float(np.asarray(line.get_ydata())[0]) for line in axes.lines]


def test_nothing_is_marked_where_nothing_is_saturated(figures: list[Figure]) -> None:
    information_figure(log([0.9, 0.5, 2 * SATURATED]), CURVES, batch_size=None)
    assert [len(axes.lines) for axes in figures[0].axes] == [4, 4, 2]


def test_there_is_no_information_without_a_logged_panel(figures: list[Figure]) -> None:
    assert information_figure({"step": np.arange(3.0), "loss": np.arange(3.0)}, CURVES, batch_size=32) is None
    information_figure(
        {name: column for name, column in log([0.9]).items() if name in ("step", "mi_static")}, CURVES, 32
    )
    assert [axes.get_title() for axes in figures[0].axes] == ["by InfoNCE"]


def test_error_rates_cross_at_the_equal_error_rate(figures: list[Figure]) -> None:
    same = np.arange(100) < 30
    scores = np.random.default_rng(0).normal(size=100).astype(np.float32) + same
    error_figure({"z": (scores, same, 0.3), "s": (scores, same, 0.2)}, {"s": "by s", "none": "", "z": "by z"})
    assert [axes.get_title() for axes in figures[0].axes] == ["by s", "by z"]
    accepted, rejected, rate = figures[0].axes[1].lines
    assert np.asarray(rate.get_ydata()).tolist() == [0.3, 0.3]
    for threshold, false_accepts, false_rejects in zip(
        *(np.asarray(data) for data in (*accepted.get_data(), rejected.get_ydata())), strict=True
    ):
        assert false_accepts == pytest.approx((scores[~same] >= threshold).mean())
        assert false_rejects == pytest.approx((scores[same] < threshold).mean())
