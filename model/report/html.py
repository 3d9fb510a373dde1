"""Reports as HTML pages that need nothing else, online or off.

`render` fills a template in `templates/`. Every page takes

    info            the `DatasetInfo` of the evaluated data set
    metrics         metrics by name; a table shows a dash for a missing one
    panels          `Panel`s, in the order in which they are shown
    about           what was evaluated and how: strings by heading, the first also at the top of the page
    configuration   of the run, as text
    missing         sentences by capability: what could not be judged, and why

`clips.html` also takes

    settings        the meaning of each setting by name; `real` is the judge's ceiling
    published       published results on this data set: tuples (setting, factor, source, metrics by name); the source
                    names method and paper

and `speech.html`

    players         `audio.Player`s, those of an utterance one after the other
    groups, levels  the meaning of each group of speakers and of each level by name
    baseline        differences from a baseline run, keyed like `metrics`; empty if there is none
    published       published results on this data set: tuples (source, content EER, motion EER)
"""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from seqviews.model.report.images import Grid, Image, png

TEMPLATES = Path(__file__).parent / "templates"
METRICS = {  # labels and formats
    "accuracy": ("accuracy", "{:.2%}"),
    "accuracy_in_order": ("right, and frames in order", "{:.2%}"),
    "in_order": ("frames in order", "{:.2%}"),
    "top_two_accuracy": ("accuracy of the two highest", "{:.2%}"),
    "inception_score": ("IS", "{:.3f}"),
    "intra_entropy": ("H(y|x)", "{:.3f}"),
    "inter_entropy": ("H(y)", "{:.3f}"),
    "error": ("error", "{:.2f} px"),
    "foreground_psnr": ("PSNR", "{:.1f} dB"),
}
CLASS_METRICS = ("accuracy", "inception_score", "intra_entropy", "inter_entropy")
MISSING = "\u2013"


@dataclass(frozen=True, slots=True)
class Panel:
    """An image of a report, which may move.

    Attributes:
        name: The name of its files, without the extension.
        heading: The title above it.
        caption: What it shows, below the heading.
        png: A PNG file; of clips, as film strips.
        moving: An animated WebP file of the same clips; None if nothing moves.
    """

    name: str
    heading: str
    caption: str
    png: bytes
    moving: bytes | None = None

    @classmethod
    def of_grid(cls, name: str, heading: str, caption: str, grid: Grid) -> Self:
        """The grid, still and moving."""
        return cls(name, heading, caption, png(grid.still()), grid.moving())

    @classmethod
    def of_image(cls, name: str, heading: str, caption: str, image: Image) -> Self:
        """An image that does not move."""
        return cls(name, heading, caption, png(image))

    @property
    def files(self) -> Mapping[str, bytes]:
        """Its files by name: `NAME.png` and, if it moves, `NAME-moving.webp`."""
        moving = {} if self.moving is None else {f"{self.name}-moving.webp": self.moving}
        return {f"{self.name}.png": self.png, **moving}


def render(template: str, **context: Any) -> str:
    """The page of a template, "clips.html" or "speech.html", with the variables listed above, as HTML.

    Raises:
        jinja2.UndefinedError: If a variable is missing.
    """
    options: dict[str, Any] = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, **options)
    environment.filters["data"] = _data_url
    environment.globals |= {
        "labels": {name: label for name, (label, _) in METRICS.items()},
        "class_metrics": CLASS_METRICS,
        "formatted": _formatted,
        "interval": _interval,
        "percentage": _percentage,
        "relative_entropy": _relative_entropy,
    }
    return environment.get_template(template).render(context)


def _data_url(file: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(file).decode()}"


def _formatted(metrics: Mapping[str, float], key: str) -> str:
    """The metric in the format of the last part of its key."""
    return METRICS[key.rpartition("/")[2]][1].format(metrics[key]) if key in metrics else MISSING


def _interval(metrics: Mapping[str, float], key: str) -> str:
    """A rate and its interval."""
    names = (key, f"{key}_low", f"{key}_high")
    return "{:.2%} [{:.1%}, {:.1%}]".format(*map(metrics.get, names)) if metrics.keys() >= set(names) else MISSING


def _percentage(metrics: Mapping[str, float], key: str) -> str:
    return f"{metrics[key]:.1%}" if key in metrics else MISSING


def _relative_entropy(metrics: Mapping[str, float], key: str, classes: Sequence[str] | None) -> str:
    """An entropy relative to the greatest one that the classes allow."""
    return f"{metrics[key] / math.log(max(2, len(classes))):.1%}" if classes and key in metrics else MISSING
