"""What is evaluated and how, and the result: what the protocols for clips and for speech share."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from seqviews.model.evaluate.clips.protocol import DRAWS
from seqviews.model.evaluate.encode import check_records, default_device
from seqviews.model.protocol import missing_capabilities
from seqviews.model.report.curves import SATURATED, information_figure, read_log, terms_figure
from seqviews.model.report.html import Panel, render
from seqviews.model.scaling import Scale
from seqviews.model.train.config import CONFIG
from seqviews.model.train.data import split_stream
from seqviews.model.train.runs import LOG, Run
from seqviews.pipeline.files import cache_folder, make_folder, write_atomically
from seqviews.pipeline.manifest import Split
from seqviews.pipeline.records import Progress
from seqviews.pipeline.stream.excerpt import Excerpt, Place

if TYPE_CHECKING:
    from seqviews.pipeline.storage.folder import Folder
    from seqviews.pipeline.stream.stream import SequenceStream

JUDGE_BATCH = 64
INFORMATION = (
    "Estimates from one batch each, faint, and their running mean, as in the paper's Figures 6, 14 and 15. Dots: less "
    f"than {SATURATED:.0%} of the weight is off the diagonal. There the estimate is saturated at log M and means "
    "nothing, and I(s; z) is no more than that of the other latent and x. 0 means independent."
)
TERMS = "Every metric that the training logged, of one batch each, faint, and its running mean."


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How a run is evaluated.

    Attributes:
        split: Split to evaluate on.
        seed: Decides the judge, the pairs, the draws and the bootstrap.
        batch_size: Clips or segments encoded or decoded at a time.
        max_clips: Evaluate so many clips only, the first that come; of speech all segments are evaluated.
        baseline: Another run on speech, to compare with in pairs.
        judges: Folder where trained judges are kept; by default below XDG_CACHE_HOME.
        judge_steps: Batches of 64 that a judge is trained on; by default 800, and more of pairs, as for `train_judge`;
            that of order on no more.
    """

    split: Split = "test"
    seed: int = 0
    batch_size: int = 128
    max_clips: int | None = None
    baseline: Run | None = None
    judges: Path = field(default_factory=lambda: cache_folder("judges"))
    judge_steps: int | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        metrics: By name; `seqviews evaluate --help` lists them.
        panels: The images of the report.
        page: The report, as HTML.
        missing: By capability that the method lacks, what could not be evaluated.
        warnings: Sentences that say which metrics are unreliable.
    """

    metrics: dict[str, float]
    panels: list[Panel]
    page: str
    missing: dict[str, str]
    warnings: list[str]

    def write(self, folder: Path | str) -> None:
        """Write `metrics.json`, the images and `report.html` into a folder; where the report is, all is."""
        folder = Path(folder)
        make_folder(folder)
        files = {name: data for panel in self.panels for name, data in panel.files.items()}
        files["metrics.json"] = (json.dumps(self.metrics, indent=1) + "\n").encode()
        for name, data in {**files, "report.html": self.page.encode()}.items():
            write_atomically(folder / name, data)


class Task:
    """What is evaluated: a run on a device, and the streams of a data set.

    A run on excerpts is evaluated on excerpts from the middle of each record; a run on whole records that differ in
    length on as many frames from the middle of each as the shortest has.
    """

    def __init__(self, run: Run, data: Folder | Path | str, config: EvaluateConfig, progress: Progress) -> None:
        self.run, self.data, self.config, self.progress, self.device = run, data, config, progress, default_device()
        self.curves = _log_panels(run)
        self.excerpt = run.config.excerpt_at("centre")
        self.stream = self.open(config.split, batch_size=config.batch_size)
        least = self.stream.info.features.min_frames
        if least is not None:  # it was trained on whole records, padded; swaps and judges are for one length
            self.excerpt = Excerpt(least, place="centre")
            self.stream = self.open(config.split, batch_size=config.batch_size)
        self.info = self.stream.info
        self.method, self.scale = self.load(run)

    def load(self, run: Run) -> tuple[Any, Scale]:
        """Method and scale of a run on the device, after a check that they fit the data set."""
        method, scale = copy.deepcopy(run.method).to(self.device), copy.deepcopy(run.scale).to(self.device)
        check_records(method, scale, self.info, self.device)
        return method, scale

    def open(self, split: Split, place: Place = "centre", batch_size: int = JUDGE_BATCH) -> SequenceStream:
        """A split of the data set, of excerpts at a place if the run is evaluated on excerpts."""
        excerpt = self.excerpt and replace(self.excerpt, place=place)
        return split_stream(self.data, split, batch_size=batch_size, seed=self.config.seed, excerpt=excerpt)

    def finish(
        self,
        records: str,
        metrics: dict[str, float],
        panels: list[Panel],
        purposes: Mapping[str, str],
        warnings: Sequence[str] = (),
        **context: Any,
    ) -> Evaluation:
        """The evaluation of some records; `purposes` says by capability what is left out without it."""
        method, info = type(self.method).__name__, self.info
        lacking = missing_capabilities(self.method, *purposes)
        missing = {name: f"{method} has no {name}, which {purposes[name]} need" for name in lacking}
        about = {
            "data": f"{info.name}, {self.config.split} split, {records}",
            "SHA-256 of the data": self.stream.manifest.digest,
            "attribution": f"{info.attribution} ({info.licence})",
            "method": f"{method}, {sum(p.numel() for p in self.method.parameters()):,} parameters",
            "baseline": "none" if self.config.baseline is None else str(self.config.baseline.folder),
            "draws": f"{DRAWS} per clip",
            "frames": "all of each record"
            if self.excerpt is None
            else f"{self.excerpt.frames} of each, from its middle",
            "seed": str(self.config.seed),
            "torch": torch.__version__,
        }
        del about["baseline" if info.modality == "clip" else "draws"]
        panels = [*panels, *self.curves]
        context |= {"info": info, "metrics": metrics, "panels": panels, "missing": missing, "about": about}
        context["warnings"] = warnings
        context["configuration"] = (self.run.folder / CONFIG).read_text(encoding="utf-8")
        page = render("clips.html" if info.modality == "clip" else "speech.html", **context)
        return Evaluation(metrics, panels, page, missing, list(warnings))


def _log_panels(run: Run) -> list[Panel]:
    """The learning curves of a run; none if it has no log."""
    path = run.folder / LOG
    log = read_log(path) if path.is_file() else {}
    if not len(log.get("step", ())):
        return []
    log["records"] = run.config.batch_size * log["step"]
    curves = run.method.curves
    panels = [Panel.of_image("terms", "Learning curves", TERMS, terms_figure(log, curves))]
    if (information := information_figure(log, curves, run.config.batch_size)) is not None:
        heading = "Mutual information during training"
        panels.insert(0, Panel.of_image("information", heading, INFORMATION, information))
    return panels
