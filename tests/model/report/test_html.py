from __future__ import annotations

import base64
import math
import re
from html.parser import HTMLParser

import pytest
from moving_squares import MovingSquares

from seqviews.model.evaluate.clips import PSNR, SETTINGS
from seqviews.model.report.html import FIGURES, Picture, render_report
from seqviews.pipeline.manifest import DatasetInfo, Features

INFO = MovingSquares().info
SPRITES = DatasetInfo("sprites", "", "", Features((8, 64, 64, 3)), {"hair": ["a"] * 6}, {"motion": ["m"] * 9})
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
        INFO,
        metrics,
        [Picture("a", "A picture", "what it <shows>", b"\x89PNG data")],
        {"data": "7 & up"},
        "model:\n  a: <b>\n",
    )


def test_every_figure_is_in_the_page(metrics: dict[str, float]) -> None:
    html = page(metrics)
    for key, value in metrics.items():
        assert f">{FIGURES[key.rsplit('/', 1)[1]][1].format(value)}</td>" in html, key


def test_each_score_stands_beside_the_floor(metrics: dict[str, float]) -> None:
    (row,) = re.findall(r"<tr><th>way</th>.*?</tr>", page(metrics))
    cells = re.findall(r'<td class="(floor|score)">(.*?)</td>', row)
    order = ("real", "reconstruction", "swap", "static_drawn")
    drawn = [f"{metrics[f'{setting}/way/inter_entropy']:.3f}" for setting in ("real", "dynamic_drawn")]
    assert [text for _, text in cells] == [f"{metrics[f'{setting}/way/accuracy']:.2%}" for setting in order] + drawn
    assert [kind for kind, _ in cells] == ["floor", "score", "score", "score", "floor", "score"]


def test_the_variety_of_draws_is_told_in_parts_of_the_most_there_can_be(metrics: dict[str, float]) -> None:
    metrics["static_drawn/shade/inter_entropy"] = 0.9 * math.log(4)
    (row,) = re.findall(r"<tr><th>shade</th>.*?</tr>", page(metrics))
    assert row.endswith("<td>90.0%</td></tr>")


def test_sprites_stand_beside_the_row_of_the_paper(metrics: dict[str, float]) -> None:
    figures = dict(zip(("accuracy", "inception_score", "intra_entropy", "inter_entropy"), (0.5, 4, 1, 2), strict=True))
    metrics = {f"{place}/motion/{figure}": x for place in ("real", "static_drawn") for figure, x in figures.items()}
    html = render_report(SPRITES, {**metrics, "static_drawn/motion/accuracy": 0.25}, [], {}, "")
    (table,) = re.findall(r"<h2>Beside the paper.*?</table>", html, re.DOTALL)
    rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in re.findall(r"<tr.*?</tr>", table)]
    assert rows[1:] == [
        ["this run", "25.00%", "4.000", "1.000", "2.000"],
        ["judge on real clips", "50.00%", "4.000", "1.000", "2.000"],
        ["C-DSVAE (paper, Table 1)", "99.99%", "8.871", "0.014", "2.197"],
    ]
    assert "Table 1" not in render_report(INFO, metrics, [], {}, "")


def test_the_psnr_is_told_where_there_is_one(metrics: dict[str, float]) -> None:
    assert "<strong>23.4 dB</strong>" in page({**metrics, PSNR: 23.44})
    assert "dB" not in page(metrics)


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
