import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from seqviews.model.methods.cdsvae import CDSVAE
from seqviews.model.report import curves, images
from seqviews.model.report.curves import SATURATED, error_figure, information_figure, read_log, terms_figure

ESTIMATES = {"mi_static": 0.01, "mi_dynamic": 0.1, "mws_static": 1, "mws_dynamic": 10, "mi_between": 100}
PANELS = ["by InfoNCE", "by minibatch weighted sampling", "about each other, weighted sampling"]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn."""
    seen: list[Figure] = []

    def spy(figure: Figure) -> images.Image:
        seen.append(figure)
        return images.rasterise(figure)

    monkeypatch.setattr(curves, "rasterise", spy)
    return seen


def log(of_s: list[float], of_z: list[float] | None = None) -> dict[str, NDArray[np.float64]]:
    """Rows every 25 steps, whose estimates are their number times 0.01, 0.1, 1, 10 and 100."""
    number = np.arange(1.0, len(of_s) + 1)
    estimates = {name: number * scale for name, scale in ESTIMATES.items()}
    weights = {"static_off_diagonal": np.array(of_s), "dynamic_off_diagonal": np.array(of_z or of_s)}
    return {"step": 25 * number, **estimates, **weights}


def read(folder: Path, text: str) -> dict[str, list[float]]:
    (folder / "log.csv").write_text(text)
    return {name: column.tolist() for name, column in read_log(folder / "log.csv").items()}


def test_columns_are_in_order_and_blanks_are_nan(tmp_path: Path) -> None:
    columns = read(tmp_path, "epoch,loss,lr-Adam,step\n0,,0.5,24\n0,7.5,,24\n1,6,,100\n0,5,,50\n")
    assert columns["step"] == [24, 24, 50, 100]
    assert columns["loss"] == pytest.approx([np.nan, 7.5, 5, 6], nan_ok=True)
    assert columns["lr-Adam"][0] == 0.5
    assert read(tmp_path, "loss,step\n") == {}
    assert read(tmp_path, "loss,step\n5,25\n4")["loss"] == [5]
    for text in ("loss\n1\n", "loss,step\nhigh,2\n", "loss,step\n1,2,3\n"):
        with pytest.raises(ValueError, match=r"log.csv is not the log of a training"):
            read(tmp_path, text)


def test_a_plot_for_every_column_with_its_points(figures: list[Figure]) -> None:
    known = log([0.5, 0.2, 0.1])
    step = known["step"]
    more = {"new $x$": step, "gradient_norm/critic": step, "loss/critic": step, "loss": np.array([3.0, np.nan, 1.0])}
    image = terms_figure({**known, **more, "epoch": step}, CDSVAE.curves)
    plots, own = figures[0].axes, [curve for name, curve in CDSVAE.curves.items() if name in known]
    expected = [("loss", "nats"), ("loss, critic", "nats")]
    expected += [(f"{curve.title}, {curve.panel}".removesuffix(", "), curve.unit) for curve in own]
    expected += [("norm of the gradients, critic", ""), ("new $x$", "")]
    assert [(axes.get_title(), axes.get_ylabel()) for axes in plots] == expected
    raw, mean = plots[0].lines
    assert np.asarray(raw.get_xydata()).tolist() == [[25, 3], [75, 1]]
    assert np.asarray(mean.get_xydata()).shape == (2, 2)
    assert str(image.dtype) == "uint8"


def test_the_running_mean_is_that_of_the_points_around_and_one_point_can_be_seen(figures: list[Figure]) -> None:
    values = np.random.default_rng(0).normal(size=60)
    single = np.where(np.arange(60) == 7, 2.0, np.nan)
    terms_figure({"step": np.arange(60.0), "loss": values, "val_loss": single}, {})
    losses, validation = figures[0].axes
    reach = 60 // curves.MEANS // 2
    assert reach > 1
    means = [values[max(0, i - reach) : i + reach + 1].mean() for i in range(60)]
    assert np.asarray(losses.lines[1].get_ydata()) == pytest.approx(means)
    assert validation.lines[0].get_marker() == "o"


def test_curves_are_over_the_records_seen_where_the_log_has_them(figures: list[Figure]) -> None:
    columns = log([0.5, SATURATED / 2])
    by_records = {**columns, "records": 16 * columns["step"]}
    for of_terms in (True, False):
        for drawn in (columns, by_records):
            if of_terms:
                terms_figure(drawn, {})
            else:
                information_figure(drawn, CDSVAE.curves, batch_size=None)
        for by_step, by_record in zip(figures[-2].axes, figures[-1].axes, strict=True):
            assert (by_step.get_xlabel(), by_record.get_xlabel()) == ("step", "records seen")
            for line, other in zip(by_step.lines, by_record.lines, strict=True):
                assert np.array_equal(np.asarray(other.get_xdata()), 16 * np.asarray(line.get_xdata()))


def dots(axes: Axes) -> list[list[float]]:
    """What is marked as saturated, once in the legend."""
    marked = [line for line in axes.lines if str(line.get_label()).startswith("saturated")]
    assert len(marked) < 2
    points: list[list[float]] = np.asarray(marked[0].get_xydata()).tolist() if marked else []
    return points


def test_a_curve_is_marked_where_any_of_its_weights_is_low(figures: list[Figure]) -> None:
    of_s, of_z = [0.9, SATURATED / 2, 0.5, 0.0], [0.9, 0.3, SATURATED / 2, 0.0]
    information_figure(log(of_s, of_z), CDSVAE.curves, batch_size=32)
    contrasted, sampled, between = plots = figures[0].axes
    assert [axes.get_title() for axes in plots] == PANELS
    assert dots(contrasted) == []
    assert dots(sampled) == [[50, 2], [100, 4], [75, 30], [100, 40]]
    assert dots(between) == [[50, 200], [75, 300], [100, 400]]
    for axes in plots:
        assert math.log(32) in [float(np.asarray(line.get_ydata())[0]) for line in axes.lines]


def test_nothing_is_marked_or_drawn_without_a_reason(figures: list[Figure]) -> None:
    unsaturated = log([0.9, 0.5, 2 * SATURATED])
    for columns, lines in (
        (unsaturated, [4, 4, 2]),
        ({name: unsaturated[name] for name in ("step", "mi_static")}, [2]),
    ):
        information_figure(columns, CDSVAE.curves, batch_size=None)
        assert [len(axes.lines) for axes in figures[-1].axes] == lines
    assert information_figure({"step": np.arange(3.0), "loss": np.arange(3.0)}, CDSVAE.curves, batch_size=32) is None


def test_error_rates_over_the_threshold(figures: list[Figure]) -> None:
    same = np.arange(100) < 30
    scores = np.random.default_rng(0).normal(size=100).astype(np.float32) + same
    error_figure({"z": (scores, same, 0.3), "s": (scores, same, 0.2)}, {"s": "by s", "none": "", "z": "by z"})
    assert [axes.get_title() for axes in figures[0].axes] == ["by s", "by z"]
    accepted, rejected, rate = figures[0].axes[1].lines
    assert np.asarray(rate.get_ydata()).tolist() == [0.3, 0.3]
    thresholds, accepted_share = np.asarray(accepted.get_xydata()).T
    assert accepted_share == pytest.approx([(scores[~same] >= t).mean() for t in thresholds])
    assert np.asarray(rejected.get_ydata()) == pytest.approx([(scores[same] < t).mean() for t in thresholds])
