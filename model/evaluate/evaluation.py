"""Evaluate the run of a training on a prepared data set: metrics, images and a report."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from seqviews.model.evaluate import clip_panels, clips, speech, speech_panels
from seqviews.model.evaluate.encode import Encoded, check_records, default_device, encode, no_progress
from seqviews.model.evaluate.judge import cached_judge
from seqviews.model.evaluate.probe import PROBED, ProbedMels, probe
from seqviews.model.protocol import Posterior, missing_capabilities, require
from seqviews.model.report.curves import SATURATED, information_figure, read_log, terms_figure
from seqviews.model.report.html import Panel, render
from seqviews.model.scaling import Scale
from seqviews.model.train.config import CONFIG
from seqviews.model.train.data import split_stream
from seqviews.model.train.runs import LOG, Run
from seqviews.pipeline.files import cache_folder, make_folder, write_atomically
from seqviews.pipeline.manifest import Split
from seqviews.pipeline.records import Batch, Progress
from seqviews.pipeline.stream.recordset import check_agreement

if TYPE_CHECKING:
    from seqviews.pipeline.storage.folder import Folder
    from seqviews.pipeline.stream.stream import SequenceStream

JUDGE_BATCH = 64
WEAK_JUDGE = 0.95  # accuracy on real clips
PLAYED = 3  # utterances
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
        judge_steps: Batches of 64 that a judge is trained on; by default 800, and more of pairs, as for `train_judge`.
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


def evaluate(
    run: Run, data: Folder | Path | str, config: EvaluateConfig | None = None, progress: Progress = no_progress
) -> Evaluation:
    """Evaluate a run, on a GPU if there is one.

    Args:
        run: A training that has saved a checkpoint; it is not changed.
        data: Folder or URL of a prepared data set, of the kind that the run was trained on.
        config: How to evaluate it; the default configuration if None.
        progress: Called now and then with a task, how much of it is done, and how much there is.

    Raises:
        ValueError: If the data set does not fit the run or has no labels, its splits do not agree, or the method lacks
            the capabilities that every evaluation requires.
        ShardError: If a shard contradicts the manifest.
    """
    task = _Task(run, data, config or EvaluateConfig(), progress)
    return _evaluate_clips(task) if task.info.modality == "clip" else _evaluate_speech(task)


class _Task:
    """What is evaluated: a run on a device, and the streams of a data set."""

    def __init__(self, run: Run, data: Folder | Path | str, config: EvaluateConfig, progress: Progress) -> None:
        self.run, self.data, self.config, self.progress, self.device = run, data, config, progress, default_device()
        self.curves = _log_panels(run)
        self.stream = split_stream(data, config.split, batch_size=config.batch_size, seed=config.seed)
        self.info = self.stream.manifest.dataset
        self.method, self.scale = self.load(run)

    def load(self, run: Run) -> tuple[Any, Scale]:
        """Method and scale of a run on the device, after a check that they fit the data set."""
        method, scale = copy.deepcopy(run.method).to(self.device), copy.deepcopy(run.scale).to(self.device)
        check_records(method, scale, self.info, self.device)
        return method, scale

    def open(self, split: Split) -> SequenceStream:
        """Another split of the data set."""
        return split_stream(self.data, split, batch_size=JUDGE_BATCH, seed=self.config.seed)

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
            "draws": f"{clips.DRAWS} per clip",
            "seed": str(self.config.seed),
            "torch": torch.__version__,
            **{f"warning {number}": text for number, text in enumerate(warnings, start=1)},
        }
        del about["baseline" if info.modality == "clip" else "draws"]
        panels = [*panels, *self.curves]
        context |= {"info": info, "metrics": metrics, "panels": panels, "missing": missing, "about": about}
        context["configuration"] = (self.run.folder / CONFIG).read_text(encoding="utf-8")
        page = render("clips.html" if info.modality == "clip" else "speech.html", **context)
        return Evaluation(metrics, panels, page, missing, list(warnings))


def _evaluate_clips(task: _Task) -> Evaluation:
    config, info, method, scale, device = task.config, task.info, task.method, task.scale, task.device
    if config.baseline is not None:
        raise ValueError("a baseline can be given for speech only")
    settings = clips.possible_settings(method)
    train, val = task.open("train"), task.open("val")
    check_agreement([stream.sets[0] for stream in (task.stream, train, val)], task.stream.factors)
    progress, seed, size = task.progress, config.seed, config.batch_size
    steps, maximum = config.judge_steps, config.max_clips
    judge = cached_judge(config.judges, train, val, seed=seed, device=device, steps=steps, progress=progress).predict
    real = clips.judge_real_clips(method, judge, task.stream, scale, device, maximum=maximum, progress=progress)
    metrics = clips.score(method, judge, real, info, device, seed=seed, batch_size=size, progress=progress)
    panels = []
    if "reconstruction" in settings:
        panels = clip_panels.clip_panels(method, real, task.stream.sets[0], info, scale, device, seed)
    if "sampled" in settings:
        panels.append(clip_panels.sampled_panel(method, info, device, seed))
    return task.finish(
        f"{len(real)} of {len(task.stream.manifest)} clips",
        metrics,
        panels,
        clips.PURPOSES,
        _weak_factors(metrics, task.stream.factors),
        settings={name: text for name, text in clips.SETTINGS.items() if name in {"real", *settings}},
        published=[row for row in clip_panels.PUBLISHED.get(info.name, []) if row[0] in settings],
    )


def _evaluate_speech(task: _Task) -> Evaluation:
    info, method, scale, seed = task.info, task.method, task.scale, task.config.seed
    require(method, "encode", purpose="error rates of speakers")
    if "speaker" not in task.stream.factors:
        raise ValueError(f"{info.name} has no factor speaker, which an error rate of speakers requires")
    if task.config.max_clips is not None:
        raise ValueError("max_clips is for clips only: of speech, pairs of all segments are scored")
    segments, results, metrics, differences = _verify(task)
    panels, players = [speech_panels.error_panel(results)], []
    if not missing_capabilities(method, "decode"):
        names = speech_panels.choose_utterances(segments.keys, segments.factors["speaker"], seed=seed)
        utterances = speech_panels.read_utterances(task.stream.sets[0], segments, names)
        panels.insert(0, speech_panels.cross_panel(method, scale, utterances, task.device))
        players = speech_panels.players(method, scale, utterances[:PLAYED], info.features, task.device, seed)
    return task.finish(
        f"{len(segments)} segments of {len(set(segments.factors['speaker'].tolist()))} speakers",
        {**metrics, **{f"baseline_difference/{name}": value for name, value in differences.items()}},
        panels,
        speech_panels.PURPOSES,
        players=players,
        groups=speech.GROUPS,
        levels=speech.LEVELS,
        baseline=differences,
        published=speech_panels.PUBLISHED.get(info.name, []),
    )


def _verify(task: _Task) -> tuple[Encoded, speech.VerificationResults, dict[str, float], dict[str, float]]:
    """Encode the split, once, with the method and its baseline; verify speakers with both; probe z."""
    seed, device, progress = task.config.seed, task.device, task.progress
    baseline = None if task.config.baseline is None else task.load(task.config.baseline)
    mels, train_mels = ProbedMels(), ProbedMels()

    def keep(x: Tensor, posterior: Posterior, batch: Batch) -> dict[str, Tensor]:
        mels(x, posterior, batch)
        if baseline is None:
            return {}
        other: Posterior = baseline[0].encode(baseline[1](batch.x.to(device)))
        return {"baseline_static": other.static.mean, "baseline_dynamic": other.dynamic.mean}

    segments = encode(task.method, task.stream, task.scale, device, keep=keep, progress=progress)
    results = speech.verify(speech.SpeechLatents.of_segments(segments), seed)
    metrics, differences = speech.error_rates(results), {}
    if baseline is not None:
        of_baseline = speech.verify(speech.SpeechLatents.of_segments(segments, "baseline_"), seed)
        differences = speech.error_rates(results, of_baseline)
    options: dict[str, Any] = {"keep": train_mels, "maximum": PROBED, "progress": progress}
    train = encode(task.method, task.open("train"), task.scale, device, **options)
    metrics |= probe(train_mels.frames(train), mels.frames(segments), seed)
    return segments, results, metrics, differences


def _weak_factors(metrics: Mapping[str, float], factors: Sequence[str]) -> list[str]:
    return [
        f"the judge is right about {factor} in only {accuracy:.0%} of real clips, so the metrics of {factor} are "
        "unreliable; train the judge for longer (judge_steps)"
        for factor in factors
        if (accuracy := metrics.get(f"real/{factor}/accuracy", 1.0)) < WEAK_JUDGE
    ]


def _log_panels(run: Run) -> list[Panel]:
    """The learning curves of a run; none if it has no log."""
    path = run.folder / LOG
    log = read_log(path) if path.is_file() else {}
    if not len(log.get("step", ())):
        return []
    curves = run.method.curves
    panels = [Panel.of_image("terms", "Learning curves", TERMS, terms_figure(log, curves))]
    if (information := information_figure(log, curves, run.config.batch_size)) is not None:
        heading = "Mutual information during training"
        panels.insert(0, Panel.of_image("information", heading, INFORMATION, information))
    return panels
