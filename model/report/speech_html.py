"""Report on speech: error rates, the probe, pictures and players as one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping, Sequence
from html import escape

from seqviews.model.evaluate.speech import GROUPS, LEVELS
from seqviews.model.report.html import Picture, figure_of, page
from seqviews.model.report.speech_gallery import Player
from seqviews.pipeline.manifest import DatasetInfo

COLUMNS = {"content_eer": "content EER<br>by s: low is good", "motion_eer": "motion EER<br>by z: high is good"}
COLUMNS |= {"gap": "gap<br>motion less content"}
PUBLISHED = (  # on TIMIT, by its own paper's protocol
    ("C-DSVAE, paper, Table 4", 0.0403, 0.3181),
    ("DSVAE, paper, Table 6", 0.0564, 0.1920),
)


def render_speech_report(
    info: DatasetInfo,
    metrics: Mapping[str, float],
    pictures: Sequence[Picture],
    players: Sequence[Player],
    about: Mapping[str, str],
    configuration: str,
) -> str:
    """The page.

    Args:
        info: The data set that was evaluated on.
        metrics: Of `speech_evaluation.error_rates` and, if there are any, `differences`, and of `probe.probe`.
        pictures: In the order they are shown.
        players: Those of an utterance one behind the other.
        about: What was evaluated and how: the first on top of the page, all of it at the bottom.
        configuration: Of the run, as text.
    """
    body = f"""
<p>Each segment is encoded into a static latent s (who speaks) and dynamic latents z (what is said). Two recordings are
taken for one speaker if the cosine of a latent passes a threshold. At the equal error rate (EER), as many pairs of
different speakers are accepted as pairs of one speaker are refused: 0 % if the latent knows the speaker, 50 % if it
knows nothing of the speaker. The speakers were never heard in training.</p>
<h2>Who speaks</h2>
<div class="wide">{_rates(metrics, "")}</div>
<p class="soft">In brackets, 95 % intervals by a bootstrap over speakers. Pairs are of different utterances; the latents
of an utterance are means over its segments.</p>
{_beside(metrics)}
{_published(info)}
<h2>What is said</h2>
{_probe(metrics)}
{"".join(map(figure_of, pictures))}
{_players(players)}"""
    return page(f"Evaluation on {info.name}", body, about, configuration)


def _rates(metrics: Mapping[str, float], prefix: str) -> str:
    rows = ""
    for group, level in itertools.product(GROUPS, LEVELS):
        place = f"{prefix}{group}/{level}"
        if f"{place}/gap" in metrics:
            cells = "".join(f"<td>{_with_interval(metrics, f'{place}/{name}')}</td>" for name in COLUMNS)
            rows += f"<tr><th>{escape(GROUPS[group])}</th><td class='name'>{escape(LEVELS[level])}</td>{cells}</tr>"
    heads = "<th></th><th></th>" + "".join(f"<th>{label}</th>" for label in COLUMNS.values())
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _with_interval(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:.2%} [{metrics[f'{name}_low']:.1%}, {metrics[f'{name}_high']:.1%}]"


def _beside(metrics: Mapping[str, float]) -> str:
    if not any(name.startswith("less/") for name in metrics):
        return ""
    told = "The same less that of the run it is compared with, on the same pairs; intervals by drawing the same "
    told += "speakers for both. An interval without 0 tells them apart."
    return f'<h2>Beside the other run</h2><div class="wide">{_rates(metrics, "less/")}</div><p class="soft">{told}</p>'


def _published(info: DatasetInfo) -> str:
    if info.name != "timit":
        return ""
    rows = "".join(f"<tr><th>{who}</th><td>{c:.2%}</td><td>{m:.2%}</td></tr>" for who, c, m in PUBLISHED)
    return f"""<h2>Published, for orientation</h2>
<table><thead><tr><th></th><th>content EER</th><th>motion EER</th></tr></thead><tbody>{rows}</tbody></table>
<p class="soft">On the TIMIT disk. Such rows differ in segment length, test speakers, level and how a checkpoint is
chosen, so they compare with this run only if all of these are the same.</p>"""


def _probe(metrics: Mapping[str, float]) -> str:
    z, mel = metrics["probe/z"], metrics["probe/mel"]
    return f"""<p>A linear classifier tells which of 32 sounds, clusters of MFCC, a frame is: from z in
<strong>{z:.1%}</strong> of frames, from the log-mel itself in {mel:.1%}. That is {z / mel:.0%} of it; a z that does not
know the speaker because it knows nothing would be far below.</p>"""


def _players(players: Sequence[Player]) -> str:
    parts = ["<h2>To be heard</h2>", "<p>All are made from log-mels by Griffin and Lim's iteration, the original too: "]
    parts.append("its sound is what the others can reach at best.</p>")
    for heading, of_utterance in itertools.groupby(players, key=lambda player: player.heading):
        parts.append(f"<h3>{escape(heading)}</h3>")
        for player in of_utterance:
            source = f"data:audio/wav;base64,{base64.b64encode(player.wav).decode()}"
            parts.append(f'<p>{escape(player.caption)}<br><audio controls preload="none" src="{source}"></audio></p>')
    return "\n".join(parts) if players else ""
