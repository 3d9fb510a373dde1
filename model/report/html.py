"""Report: the verdict as one HTML page that needs nothing else, online or off."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from seqviews.model.evaluate.clips import PSNR, SETTINGS
from seqviews.pipeline.manifest import DatasetInfo

FIGURES = {
    "accuracy": ("accuracy", "{:.2%}"),
    "error": ("error", "{:.2f} px"),
    "inception_score": ("IS", "{:.3f}"),
    "intra_entropy": ("H(y|x)", "{:.3f}"),
    "inter_entropy": ("H(y)", "{:.3f}"),
}
PAPER = {  # data set, setting and factor of a row of the paper: where it stands, and its figures
    ("sprites", "static_drawn", "motion"): (
        "paper, Table 1",
        {"accuracy": 0.9999, "inception_score": 8.871, "intra_entropy": 0.014, "inter_entropy": 2.197},
    ),
}
NOTHING = "\u2013"  # where there is no figure
STYLE = """
:root { color-scheme: light dark; --text: #1d2125; --soft: #59636e; --page: #fff; --line: #d9dee3; --floor: #f1f4f6;
  --accent: #1f5fa8 }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e7ea; --soft: #9aa4ae; --page: #16191d; --line: #343a41; --floor: #21262c; --accent: #7db4f0 }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page) }
body { max-width: 72rem; margin: auto; padding: 1rem 1.25rem 4rem }
h1 { font-size: 1.6rem; margin-bottom: .25rem } h2 { font-size: 1.2rem; margin: 2.75rem 0 .5rem }
p, figcaption { max-width: 46rem } .soft, figcaption { color: var(--soft) }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .925rem; margin: .75rem 0 }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th { font-weight: 600; vertical-align: bottom } tbody th, .name { text-align: left }
th[colspan] { text-align: center }
td.name { color: var(--soft) } td.floor { background: var(--floor) }
tr.mine td, tr.mine th { color: var(--accent); font-weight: 600 }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere }
figure { margin: 0 } figcaption { margin: .6rem 0; text-wrap: pretty }
figure .wide { background: #fff; border: 1px solid var(--line); border-radius: 6px }
img { display: block; min-width: 36rem; max-width: 100%; margin: auto }
pre { overflow-x: auto; background: var(--floor); border-radius: 6px; padding: .75rem; font-size: .85rem }
summary { cursor: pointer; color: var(--accent) }
"""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a report.

    Attributes:
        name: Of its file, without the ending.
        heading: Above it.
        caption: Below the heading: what is seen.
        png: The file.
    """

    name: str
    heading: str
    caption: str
    png: bytes


def render_report(
    info: DatasetInfo,
    metrics: Mapping[str, float],
    pictures: Sequence[Picture],
    about: Mapping[str, str],
    configuration: str,
) -> str:
    """The page.

    Args:
        info: The data set that was evaluated on.
        metrics: As `evaluation.score` gives them.
        pictures: In the order they are shown.
        about: What was evaluated and how: the first on top of the page, all of it at the bottom.
        configuration: Of the run, as text.
    """
    body = f"""
<p>Each clip is encoded into a static latent s (who) and dynamic latents z (what happens), and decoded again with one of
them kept and the other replaced. A judge, trained with labels on real clips, says what a decoded clip shows. What it
gets right on real clips is the floor: no score can mean more than that.</p>
{_beside_paper(info, metrics)}
<h2>Factor by factor</h2>
{_reconstruction(metrics)}
<div class="wide">{_summary(info, metrics)}</div>
<p class="soft">The factor of the latent that is kept should stay: its accuracy, or a trajectory's error. The factor of
the latent that is drawn should vary: H(y) over the draws, in nats, as near to that of the real clips as can be, and at
most log K with K classes.</p>
{"".join(map(figure_of, pictures))}
<h2>All figures</h2>
<p>IS = exp(H(y) &minus; H(y|x)), entropies in nats. A low H(y|x) says that the judge is sure of each clip, a high H(y)
that the clips are varied; with K equally frequent classes it is at most log K. A latent that is drawn has no true
class, so its factors have no accuracy.</p>
<div class="wide">{_all_figures(info, metrics)}</div>"""
    return page(f"Evaluation on {info.name}", body, about, configuration)


def page(title: str, body: str, about: Mapping[str, str], configuration: str) -> str:
    """A page that needs nothing else.

    Args:
        title: Of the page, and its heading.
        body: HTML.
        about: What was evaluated and how: the first on top of the page, all of it at the bottom.
        configuration: Of the run, as text.
    """
    facts = "".join(f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>" for key, value in about.items())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="soft">{escape(next(iter(about.values()), ""))}</p>
{body}
<h2>What was evaluated</h2>
<div class="wide"><table class="facts"><tbody>{facts}</tbody></table></div>
<details><summary>Configuration of the run</summary><pre>{escape(configuration)}</pre></details>
</body>
</html>
"""


def _beside_paper(info: DatasetInfo, metrics: Mapping[str, float]) -> str:
    """This run, the judge's floor and the paper's row, where it has one of this data set."""
    tables = ""
    for (dataset, setting, factor), (where, published) in PAPER.items():
        if dataset != info.name or f"{setting}/{factor}/accuracy" not in metrics:
            continue
        ours = {figure: metrics[f"{setting}/{factor}/{figure}"] for figure in published}
        floor = {figure: metrics[f"real/{factor}/{figure}"] for figure in published}
        rows = _row("this run", ours, "mine") + _row("judge on real clips", floor)
        rows += _row(f"C-DSVAE ({where})", published)
        heads = "<th></th>" + "".join(f"<th>{escape(FIGURES[figure][0])}</th>" for figure in published)
        tables += f"<h2>Beside the paper: {escape(factor)}, {escape(SETTINGS[setting])}</h2>\n"
        tables += f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>\n'
        tables += (
            '<p class="soft">The paper\'s row was scored by a judge that is not to be had. Ours is another one, so '
            "read this run against its figures on real clips, the floor.</p>\n"
        )
    return tables


def _row(name: str, values: Mapping[str, float], kind: str = "other") -> str:
    cells = "".join(f"<td>{FIGURES[figure][1].format(value)}</td>" for figure, value in values.items())
    return f'<tr class="{kind}"><th>{escape(name)}</th>{cells}</tr>'


def _reconstruction(metrics: Mapping[str, float]) -> str:
    if PSNR not in metrics:
        return ""
    return f"<p>Reconstructions: <strong>{metrics[PSNR]:.1f} dB</strong> PSNR on the foreground, a mean over clips.</p>"


def _summary(info: DatasetInfo, metrics: Mapping[str, float]) -> str:
    rows = ""
    for kind, factors, kept, drawn in (
        ("static", info.static, "dynamic_drawn", "static_drawn"),
        ("dynamic", info.dynamic, "static_drawn", "dynamic_drawn"),
    ):
        for factor, classes in factors.items():
            figure = "accuracy" if classes else "error"
            cells = _cells(metrics, ["real", "reconstruction", "swap", kept], factor, figure)
            cells += _cells(metrics, ["real", drawn], factor, "inter_entropy")
            variety = metrics.get(f"{drawn}/{factor}/inter_entropy")
            share = NOTHING if variety is None or not classes else f"{variety / math.log(max(2, len(classes))):.1%}"
            label = f"{kind}, {len(classes)} classes" if classes else f"{kind}, distance"
            rows += f'<tr><th>{escape(factor)}</th><td class="name">{label}</td>{cells}<td>{share}</td></tr>'
    groups = (
        '<th colspan="2"></th><th colspan="4">kept: accuracy or error</th><th colspan="3">drawn: variety, H(y)</th>'
    )
    names = ["judge on<br>real clips", "reconstructed", "swapped", "other latent<br>drawn"]
    names += ["real clips", "draws", "draws in<br>parts of log K"]
    heads = '<th class="name">factor</th><th class="name">kind</th>' + "".join(f"<th>{name}</th>" for name in names)
    return f"<table><thead><tr>{groups}</tr><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _all_figures(info: DatasetInfo, metrics: Mapping[str, float]) -> str:
    rows = ""
    for factor in [*info.static, *info.dynamic]:
        for figure, (label, _) in FIGURES.items():
            if f"real/{factor}/{figure}" in metrics:
                cells = _cells(metrics, list(SETTINGS), factor, figure)
                rows += f"<tr><th>{escape(factor)} {escape(label)}</th>{cells}</tr>"
    heads = "".join(f"<th>{escape(meaning).replace(', ', ',<br>')}</th>" for meaning in SETTINGS.values())
    return f"<table><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _cells(metrics: Mapping[str, float], settings: Sequence[str], factor: str, figure: str) -> str:
    cells = ""
    for setting in settings:
        value = metrics.get(f"{setting}/{factor}/{figure}")
        text = NOTHING if value is None else FIGURES[figure][1].format(value)
        cells += f'<td class="{"floor" if setting == "real" else "score"}">{text}</td>'
    return cells


def figure_of(picture: Picture) -> str:
    """The picture inside the page, below its heading and caption."""
    source = f"data:image/png;base64,{base64.b64encode(picture.png).decode()}"
    return (
        f"<h2>{escape(picture.heading)}</h2>\n<figure><figcaption>{escape(picture.caption)}</figcaption>"
        f'<div class="wide"><img src="{source}" alt="{escape(picture.heading)}"></div></figure>\n'
    )
