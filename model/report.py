"""Report: the verdict as one HTML page that needs nothing else, online or off."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from seqviews.model.evaluation import SETTINGS
from seqviews.pipeline.manifest import DatasetInfo

FIGURES = {
    "accuracy": ("accuracy", "{:.2%}"),
    "error": ("error", "{:.2f} px"),
    "inception_score": ("IS", "{:.3f}"),
    "intra_entropy": ("H(y|x)", "{:.3f}"),
    "inter_entropy": ("H(y)", "{:.3f}"),
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff }
body { max-width: 75rem; margin: auto; padding: 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
th { font-weight: 600; vertical-align: bottom } tbody th, .name { text-align: left }
td.floor { background: #f3f3f3 }
img { display: block; min-width: 40rem; max-width: 100%; image-rendering: pixelated }
pre { overflow-x: auto; background: #f3f3f3; padding: .75rem; font-size: .85rem }
p, figcaption { max-width: 45rem } figure { margin: 0 } figcaption { color: #555; margin-top: .5rem }
"""


def render_report(
    info: DatasetInfo,
    metrics: Mapping[str, float],
    images: Sequence[tuple[str, str, bytes]],
    about: Mapping[str, str],
    configuration: str,
) -> str:
    """The page.

    Args:
        info: The data set that was evaluated on.
        metrics: Figures keyed `setting/factor/figure`, as `evaluation.score` gives them.
        images: Heading, caption and PNG of each picture.
        about: What was evaluated and how, shown at the bottom.
        configuration: Of the run, as text.
    """
    pictures = "".join(_picture(*image) for image in images)
    facts = "".join(f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>" for key, value in about.items())
    title = f"C-DSVAE on {escape(info.name)}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<p>Does a factor stay when the other half of the clip is replaced? A static factor should follow <i>s</i>, a dynamic
one <i>z</i>. A judge, trained with labels on real clips, says what a decoded clip shows. What it gets right on real
clips is the floor: no score can mean more than that.</p>
<div class="wide">{_summary(info, metrics)}</div>
{pictures}
<h2>All figures</h2>
<p>IS = exp(H(y) &minus; H(y|x)), entropies in nats. A low H(y|x) says that the judge is sure of each clip, a high H(y)
that the clips are varied; with K equally frequent classes it is at most log K. A latent that is drawn has no true
class, so its factors have no accuracy: their H(y) tells how varied the draws are.</p>
<div class="wide">{_all_figures(info, metrics)}</div>
<h2>What was evaluated</h2>
<div class="wide"><table><tbody>{facts}</tbody></table></div>
<pre>{escape(configuration)}</pre>
</body>
</html>
"""


def _summary(info: DatasetInfo, metrics: Mapping[str, float]) -> str:
    rows = ""
    for kind, factors, drawn in (("static", info.static, "dynamic_drawn"), ("dynamic", info.dynamic, "static_drawn")):
        for factor, classes in factors.items():
            figure = "accuracy" if classes else "error"
            cells = _cells(metrics, ["real", "reconstruction", "swap", drawn], factor, figure)
            label = f"{kind}, {len(classes)} classes" if classes else f"{kind}, distance"
            rows += f'<tr><th>{escape(factor)}</th><td class="name">{label}</td>{cells}</tr>'
    heads = ("factor", "kind"), ("judge on real clips", "reconstructed", "swapped", "other latent drawn")
    names, settings = (
        "".join(f"<th{c}>{h}</th>" for h in part) for part, c in zip(heads, (' class="name"', ""), strict=True)
    )
    return f"<table><thead><tr>{names}{settings}</tr></thead><tbody>{rows}</tbody></table>"


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
        text = "–" if value is None else FIGURES[figure][1].format(value)  # noqa: RUF001 (a dash where there is no figure)
        cells += f'<td class="{"floor" if setting == "real" else "score"}">{text}</td>'
    return cells


def _picture(heading: str, caption: str, png: bytes) -> str:
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return (
        f'<h2>{escape(heading)}</h2>\n<figure><div class="wide"><img src="{source}" alt="{escape(heading)}"></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>\n"
    )
