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
from seqviews.pipeline.features import Features
from seqviews.pipeline.manifest import DatasetInfo

SETTINGS = {name: f"the {name}" for name in ("real", "reconstruction", "swap", "static_drawn", "dynamic_drawn")}
HOSTILE = "</pre><script>alert('&\"')</script>"
PLACES = list(itertools.product(("all", "many"), ("segment", "utterance")))
CONTEXT: dict[str, Any] = {
    "info": MovingSquares().info,
    "panels": [Panel("a", "A", "", b"\x89PNG data", b"RIFF moves"), Panel("b", "B", "", b"\x89PNG still")],
    "players": [Player("who", "what", b"RIFF")],
    "about": {},
    "configuration": "",
    "missing": {"sample": "This has no sample"},
    "published": [],
    "baseline": {},
    "settings": SETTINGS,
    "tables": {
        "groups": {"all": "all speakers", "many": "many"},
        "levels": {"segment": "segments", "utterance": "utterances"},
        "vectors": {"s": "s", "z_mean": "z, mean"},
        "scorers": {"cosine": "cosine", "lda": "LDA"},
    },
    "places": PLACES,
    "warnings": ["the decoder ignores s"],
    "trained_on": False,
    "probed": {},
}
PAGES = pytest.mark.parametrize("template", ["clips.html", "speech.html"])


def page(template: str, metrics: dict[str, float], **changes: Any) -> str:
    return render(template, **{**CONTEXT, "metrics": metrics, **changes})


@pytest.fixture
def metrics() -> dict[str, float]:
    """A different value for every cell that can have one."""
    keys = ["/".join(names) for names in itertools.product(SETTINGS, ("shade", "way"), CLASS_METRICS)]
    keys += [f"{setting}/path/error" for setting in SETTINGS if setting != "dynamic_drawn"]
    return {key: 0.1 + 0.0101 * i for i, key in enumerate(keys)}


def cells(html: str, heading: str) -> list[str]:
    (row,) = re.findall(rf"<tr[^>]*><th>{re.escape(heading)}</th>.*?</tr>", html, re.DOTALL)
    return re.findall(r"<td[^>]*>(.*?)</td>", row)


def test_every_metric_is_in_the_page_and_each_score_beside_the_ceiling(metrics: dict[str, float]) -> None:
    metrics["dynamic_drawn/way/inter_entropy"] = 0.9 * math.log(4)
    html = page("clips.html", metrics)
    for key, value in metrics.items():
        assert f">{METRICS[key.rsplit('/', 1)[1]][1].format(value)}</td>" in html, key
    (row,) = re.findall(r"<tr><th>way</th>.*?</tr>", html, re.DOTALL)
    kept = [f"{metrics[f'{setting}/way/accuracy']:.2%}" for setting in list(SETTINGS)[:4]]
    drawn = [f"{metrics[f'{setting}/way/inter_entropy']:.3f}" for setting in ("real", "dynamic_drawn")]
    kinds = ["ceiling", "score", "score", "score", "ceiling", "score"]
    assert re.findall(r'<td class="(ceiling|score)">(.*?)</td>', row) == list(zip(kinds, kept + drawn, strict=True))
    assert cells(html, "way")[-1] == "90.0%"  # of log 4
    assert cells(html, "path error")[-1] == MISSING
    assert "dB" not in html
    assert "<strong>23.4 dB</strong>" in page("clips.html", {"reconstruction/foreground_psnr": 23.44})


def test_published_results_are_compared_with(metrics: dict[str, float]) -> None:
    published = [("static_drawn", "way", "A method (Table 1)", dict.fromkeys(CLASS_METRICS, 0.125))]
    html = page("clips.html", metrics, published=published)
    for row, setting in (("this run", "static_drawn"), ("judge on real clips", "real")):
        values = [METRICS[name][1].format(metrics[f"{setting}/way/{name}"]) for name in CLASS_METRICS]
        assert cells(html, row) == values
    assert cells(html, "A method (Table 1)") == ["12.50%", "0.125", "0.125", "0.125"]
    assert "Compared with the paper: way, the static_drawn" in html
    assert "Compared with" not in page("clips.html", metrics)
    assert "Compared with" not in page("clips.html", metrics, published=published, settings={"real": ""})


def test_speech_has_every_rate_with_its_interval() -> None:
    metrics = ["content_eer", "motion_eer", "gap", "swap/voice_of_s", "swap/ceiling"]
    keys, ends = ["/".join((*place, name)) for place in PLACES for name in metrics], {"": 0, "_low": -1, "_high": 1}
    rates = {f"{key}{end}": 0.1 + 0.01 * i + x for i, key in enumerate(keys) for end, x in ends.items()}
    baseline = {key: rate + 0.005 for key, rate in rates.items()}
    probe = {"probe/z": 0.3, "probe/mel": 0.4}
    html = page("speech.html", {**rates, **probe}, baseline=baseline, published=[("A", 0.0403, 0.31)])
    for values in (rates, baseline):
        for key in keys:
            assert f"<td>{values[key]:.2%} [{values[key] - 1:.1%}, {values[key] + 1:.1%}]</td>" in html
    assert cells(html, "A") == ["4.03%", "31.00%"]
    assert re.search(r"<strong>30.0%</strong>.*40.0%.*75%;", html, re.DOTALL)
    assert "baseline" not in page("speech.html", rates)


def test_what_an_attack_reads_from_a_latent_and_what_the_decoder_uses() -> None:
    names = itertools.product(PLACES, CONTEXT["tables"]["vectors"], CONTEXT["tables"]["scorers"])
    rates = {f"{group}/{level}/eer/{v}/{how}": 0.1 + 0.01 * i for i, ((group, level), v, how) in enumerate(names)}
    use = {"use/static_exchanged": 0.0123, "use/dynamic_exchanged": 0.9}
    html = page("speech.html", {**rates, **use})
    for vector, meaning in CONTEXT["tables"]["vectors"].items():
        (row,) = re.findall(rf'<tr><th class="name">{meaning}</th>.*?</tr>', html, re.DOTALL)
        expected = [f"{rate:.1%}" for key, rate in rates.items() if f"/eer/{vector}/" in key]
        assert re.findall(r"<td>(.*?)</td>", row) == expected
    rows = [re.findall(r"<td>(.*?)</td>", r) for r in re.findall(r"<tr><th>z</th>.*?</tr>", html, re.DOTALL)]
    assert rows == [["90.0%", MISSING]]
    assert "trained on these speakers" not in html
    assert "trained on these speakers" in re.sub(r"\s+", " ", page("speech.html", {}, trained_on=True))


@PAGES
def test_warnings_come_first(template: str) -> None:
    html = page(template, {})
    assert html.index("<strong>the decoder ignores s</strong>") < html.index("This has no sample")
    assert "Warnings" not in page(template, {}, warnings=[])


def test_what_a_latent_holds_is_beside_chance(metrics: dict[str, float]) -> None:
    probes = {f"probe/shade/{latent}/accuracy": 0.5 + 0.1 * i for i, latent in enumerate(("chance", "s", "z"))}
    probed = {"s": "s", "z": "z, flattened"}
    html = page("clips.html", {**metrics, **probes, "probe/path/z/error": 3.5}, probed=probed)
    (row,) = re.findall(r"<tr><th>shade</th><td>50.*?</tr>", html, re.DOTALL)
    assert re.findall(r"<td>(.*?)</td>", row) == ["50.00%", "60.00%", "70.00%"]
    assert "<td>3.50 px</td>" in html


@PAGES
def test_a_page_needs_nothing_else_and_no_metrics(template: str) -> None:
    html = page(template, {})
    assert re.search(f"<td[^>]*>{MISSING}</td>", html)
    assert "<li>This has no sample</li>" in html
    assert "What could not be judged" not in page(template, {}, missing={})
    assert "http" not in html
    assert not re.search(r"<(link|iframe|script [^>]*src)", html)
    sources = [
        base64.b64decode(data)
        for data in re.findall(r'src="data:(?:image/png|image/webp|audio/wav);base64,(.*?)"', html)
    ]
    sounds = [b"RIFF"] if template == "speech.html" else []
    assert sources == [b"RIFF moves", b"\x89PNG data", b"\x89PNG still", *sounds]
    assert html.count("src=") == len(sources)
    with pytest.raises(UndefinedError, match="info"):
        render(template)


@PAGES
def test_hostile_text_is_escaped_and_tags_are_closed(template: str) -> None:
    names = ("about", "missing", "settings", "probed")
    changes: dict[str, Any] = {name: {HOSTILE: HOSTILE} for name in names}
    changes["tables"] = {name: {HOSTILE: HOSTILE} for name in CONTEXT["tables"]}
    changes |= {"places": [(HOSTILE, HOSTILE)], "warnings": [HOSTILE]}
    factors = {HOSTILE: [HOSTILE]}, {HOSTILE + "2": None}
    changes["info"] = DatasetInfo(HOSTILE, "", "", Features((8, 64, 64, 3)), *factors)
    changes |= {"panels": [Panel(HOSTILE, HOSTILE, HOSTILE, b"", b"")], "players": [Player(HOSTILE, HOSTILE, b"")]}
    html = page(template, {}, configuration=HOSTILE, **changes)
    assert html.count("<script>") == 1
    assert "&lt;/pre&gt;&lt;script&gt;alert(&#39;&amp;&#34;&#39;)" in html
    open_tags: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attributes: object) -> None:
            if tag not in {"meta", "img", "br"}:
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Checker().feed(html)
    assert open_tags == []


def test_a_panel_of_clips_has_two_files() -> None:
    clip = np.zeros((2, 8, 8, 3), np.uint8)
    assert list(Panel.of_grid("a", "", "", Grid([[Cell(clip)]])).files) == ["a.png", "a-moving.webp"]
    assert list(Panel.of_grid("b", "", "", Grid([[Cell(clip[:1])]])).files) == ["b.png"]
    assert list(Panel.of_image("c", "", "", clip[0]).files) == ["c.png"]
