from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import pytest
from moving_squares import MovingSquares

from seqviews.model.evaluation import SETTINGS
from seqviews.model.report import FIGURES, render_report

INFO = MovingSquares().info
VOID = {"meta", "img", "br"}


@pytest.fixture
def metrics() -> dict[str, float]:
    """A figure of its own for every place of the table that can have one."""
    names = [f"{setting}/{factor}" for setting in SETTINGS for factor in ("shade", "way")]
    classes = [figure for figure in FIGURES if figure != "error"]
    keys = [f"{name}/{figure}" for name in names for figure in classes]
    keys += [f"{setting}/path/error" for setting in SETTINGS if setting != "dynamic_drawn"]
    return {key: 0.1 + 0.0101 * i for i, key in enumerate(keys)}


def page(metrics: dict[str, float]) -> str:
    return render_report(
        INFO, metrics, [("A picture", "what it <shows>", b"\x89PNG data")], {"seed": "7 & up"}, "model:\n  a: <b>\n"
    )


def test_every_figure_is_in_the_page(metrics: dict[str, float]) -> None:
    html = page(metrics)
    for key, value in metrics.items():
        assert f">{FIGURES[key.rsplit('/', 1)[1]][1].format(value)}</td>" in html, key


def test_each_score_stands_beside_the_floor(metrics: dict[str, float]) -> None:
    (row,) = re.findall(r"<tr><th>way</th>.*?</tr>", page(metrics))
    cells = re.findall(r'<td class="(floor|score)">(.*?)</td>', row)
    order = ("real", "reconstruction", "swap", "static_drawn")
    assert [text for _, text in cells] == [f"{metrics[f'{setting}/way/accuracy']:.2%}" for setting in order]
    assert [kind for kind, _ in cells] == ["floor", "score", "score", "score"]


def test_the_page_needs_nothing_else(metrics: dict[str, float]) -> None:
    html = page(metrics)
    assert "http" not in html
    assert not re.search(r"<(link|script|iframe)", html)
    sources = re.findall(r'(?:src|href)="(.*?)"', html)
    assert sources == ["data:image/png;base64," + base64.b64encode(b"\x89PNG data").decode()]


def test_what_is_written_is_escaped_and_tags_are_closed(metrics: dict[str, float]) -> None:
    html = page(metrics)
    assert "what it &lt;shows&gt;" in html
    assert "7 &amp; up" in html
    assert "a: &lt;b&gt;" in html
    open_tags: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attributes: object) -> None:
            if tag not in VOID:
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Checker().feed(html)
    assert open_tags == []
