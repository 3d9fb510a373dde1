from __future__ import annotations

import base64
import itertools
import math
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from jinja2 import UndefinedError
from moving_squares import MovingSquares

from seqviews.model.report.audio import Player
from seqviews.model.report.html import CLASS_METRICS, METRICS, MISSING, Panel, render
from seqviews.model.report.images import Cell, Grid
from seqviews.pipeline.manifest import DatasetInfo, Features

INFO = MovingSquares().info
SETTINGS = {name: f"the {name}" for name in ("real", "reconstruction", "swap", "static_drawn", "dynamic_drawn")}
GROUPS, LEVELS = {"all": "all speakers", "many": "many"}, {"segment": "segments", "utterance": "utterances"}
VOID = {"meta", "img", "br"}
HOSTILE = "</pre><script>alert('&\"')</script>"
BASE = {
    "panels": [Panel("a", "An image", "what it <shows>", b"\x89PNG data", b"\x89PNG moves"), Panel("b", "", "", b"B")],
    "about": {"data": "7 & up"},
    "configuration": "model:\n  a: <b>\n",
    "missing": {"sample": "Some has no sample"},
    "published": [],
}
SPEECH = {"groups": GROUPS, "levels": LEVELS, "baseline": {}, "players": [Player("who", "what", b"RIFF")]}


def clips(metrics: dict[str, float], **changes: Any) -> str:
    return render("clips.html", **{**BASE, "info": INFO, "metrics": metrics, "settings": SETTINGS, **changes})


def speech(metrics: dict[str, float], **changes: Any) -> str:
    return render("speech.html", **{**BASE, **SPEECH, "info": INFO, "metrics": metrics, **changes})


@pytest.fixture
def metrics() -> dict[str, float]:
    """A different value for every cell that can have one."""
    names = [f"{setting}/{factor}" for setting in SETTINGS for factor in ("shade", "way")]
    keys = [f"{name}/{metric}" for name in names for metric in CLASS_METRICS]
    keys += [f"{setting}/path/error" for setting in SETTINGS if setting != "dynamic_drawn"]
    return {key: 0.1 + 0.0101 * i for i, key in enumerate(keys)}


@pytest.fixture
def rates() -> dict[str, float]:
    names = ("content_eer", "motion_eer", "gap")
    keys = [f"{group}/{level}/{name}" for group in GROUPS for level in LEVELS for name in names]
    return {
        f"{key}{end}": 0.1 + 0.0101 * i for i, (key, end) in enumerate(itertools.product(keys, ("", "_low", "_high")))
    }


def cells(page: str, heading: str) -> list[str]:
    (row,) = re.findall(rf"<tr[^>]*><th>{re.escape(heading)}</th>.*?</tr>", page, re.DOTALL)
    return re.findall(r"<td[^>]*>(.*?)</td>", row)


def test_every_metric_is_in_the_page(metrics: dict[str, float]) -> None:
    page = clips(metrics)
    for key, value in metrics.items():
        assert f">{METRICS[key.rsplit('/', 1)[1]][1].format(value)}</td>" in page, key
    assert cells(page, "path error")[-1] == MISSING


def test_each_score_stands_beside_the_ceiling(metrics: dict[str, float]) -> None:
    metrics["dynamic_drawn/way/inter_entropy"] = 0.9 * math.log(4)
    page = clips(metrics)
    (row,) = re.findall(r"<tr><th>way</th>.*?</tr>", page, re.DOTALL)
    scores = re.findall(r'<td class="(ceiling|score)">(.*?)</td>', row)
    order = ("real", "reconstruction", "swap", "static_drawn")
    drawn = [f"{metrics[f'{setting}/way/inter_entropy']:.3f}" for setting in ("real", "dynamic_drawn")]
    assert [text for _, text in scores] == [f"{metrics[f'{setting}/way/accuracy']:.2%}" for setting in order] + drawn
    assert [kind for kind, _ in scores] == ["ceiling", "score", "score", "score", "ceiling", "score"]
    assert cells(page, "way")[-1] == "90.0%"  # of log 4
    assert "<strong>23.4 dB</strong>" in clips({**metrics, "reconstruction/foreground_psnr": 23.44})
    assert "dB" not in page


def test_published_results_are_compared_with(metrics: dict[str, float]) -> None:
    ours, ceiling = ({name: value + i for i, name in enumerate(CLASS_METRICS)} for value in (0.25, 0.5))
    scores = {f"static_drawn/way/{name}": value for name, value in ours.items()}
    scores |= {f"real/way/{name}": value for name, value in ceiling.items()}
    page = clips(
        scores, published=[("static_drawn", "way", "A method (Table 1)", dict.fromkeys(CLASS_METRICS, 0.125))]
    )
    assert cells(page, "this run") == ["25.00%", "1.250", "2.250", "3.250"]
    assert cells(page, "judge on real clips") == ["50.00%", "1.500", "2.500", "3.500"]
    assert cells(page, "A method (Table 1)") == ["12.50%", "0.125", "0.125", "0.125"]
    assert "Compared with the paper: way, the static_drawn" in page
    assert "Compared with" not in clips(metrics)


def test_speech_has_every_rate_with_its_interval(rates: dict[str, float]) -> None:
    probed = {"probe/z": 0.3, "probe/mel": 0.4}
    page = speech(
        {**rates, **probed},
        baseline={key: value + 0.005 for key, value in rates.items()},
        published=[("A", 0.0403, 0.31)],
    )
    for key in rates:
        if not key.endswith(("_low", "_high")):
            for shift in (0, 0.005):
                value, low, high = (rates[f"{key}{end}"] + shift for end in ("", "_low", "_high"))
                assert f"<td>{value:.2%} [{low:.1%}, {high:.1%}]</td>" in page
    assert cells(page, "A") == ["4.03%", "31.00%"]
    assert re.search(r"<strong>30.0%</strong>.*40.0%.*75%;", page, re.DOTALL)
    assert "baseline" not in speech(rates)


@pytest.mark.parametrize("page", [clips, speech])
def test_a_page_without_metrics_renders_but_not_one_without_variables(page: Any) -> None:
    assert f"<td>{MISSING}</td>" in page({}).replace(' class="score"', "")
    assert "<li>Some has no sample</li>" in page({})
    assert "What could not be judged" not in page({}, missing={}, panels=[], about={})
    with pytest.raises(UndefinedError, match="info"):
        render("clips.html")


@pytest.mark.parametrize("page", [clips, speech])
def test_the_page_needs_nothing_else(page: Any) -> None:
    html = page({})
    assert "http" not in html
    assert not re.search(r"<(link|iframe|script [^>]*src)", html)
    sources = [base64.b64decode(data) for data in re.findall(r'src="data:(?:image/png|audio/wav);base64,(.*?)"', html)]
    assert sources == [b"\x89PNG moves", b"\x89PNG data", b"B", *([b"RIFF"] if page is speech else [])]
    assert html.count("src=") == len(sources)


@pytest.mark.parametrize("page", [clips, speech])
def test_hostile_text_is_escaped_and_tags_are_closed(page: Any) -> None:
    hostile = DatasetInfo(HOSTILE, "", "", Features((8, 64, 64, 3)), {HOSTILE: [HOSTILE]}, {HOSTILE + "2": None})
    texts: dict[str, Any] = {name: {HOSTILE: HOSTILE} for name in ("about", "missing", "settings", "groups", "levels")}
    texts |= {"configuration": HOSTILE, "panels": [Panel(HOSTILE, HOSTILE, HOSTILE, b"", b"")]}
    html = page({}, info=hostile, players=[Player(HOSTILE, HOSTILE, b"")], **texts)
    assert "alert('" not in html
    assert html.count("<script>") == 1
    assert "&lt;/pre&gt;&lt;script&gt;alert(&#39;&amp;&#34;&#39;)" in html
    open_tags: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attributes: object) -> None:
            if tag not in VOID:
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Checker().feed(html)
    assert open_tags == []


def test_a_panel_of_clips_has_two_files() -> None:
    clip = np.zeros((2, 8, 8, 3), np.uint8)
    moving = Panel.of_grid("a", "", "", Grid([[Cell(clip)]]))
    assert list(moving.files) == ["a.png", "a-moving.png"]
    assert list(Panel.of_grid("b", "", "", Grid([[Cell(clip[:1])]])).files) == ["b.png"]
    assert Panel.of_image("c", "", "", clip[0]).moving is None
