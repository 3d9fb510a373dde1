"""Reproduce a table: prepare its data, train and evaluate each row, and write the table; resumes after any end."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from seqviews.model.evaluate.clips.protocol import SETTINGS
from seqviews.model.evaluate.encode import no_progress
from seqviews.model.evaluate.speech.attacks import GROUPS
from seqviews.model.reproduce.experiment import Experiment, Scale
from seqviews.model.reproduce.jobs import Job, run_jobs
from seqviews.model.reproduce.table import Measured, Table
from seqviews.model.reproduce.training import REPORT, Training
from seqviews.model.train.runs import Run
from seqviews.pipeline.files import make_folder, write_atomically
from seqviews.pipeline.manifest import SPLITS, DatasetInfo, load_manifest
from seqviews.pipeline.records import Progress
from seqviews.pipeline.storage.urls import open_folder

TICK = 60.0  # seconds
logger = logging.getLogger("seqviews")


@dataclass(frozen=True, kw_only=True)
class ReproduceConfig:
    """What is reproduced, and where.

    Attributes:
        data: A prepared data set, a folder or URL, or the folder of raw data that the experiment prepares.
        out: Folder to write.
        scale: Whose configurations the rows have.
        seeds: Of the trainings of each row.
        jobs: Trainings side by side.
        max_clips: Records that each training sees; those of its configuration if None.

    Raises:
        ValueError: If a seed is given twice.
    """

    data: str
    out: Path
    scale: Scale = "compact"
    seeds: Sequence[int] = (0,)
    jobs: int = 1
    max_clips: int | None = None

    def __post_init__(self) -> None:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds are {', '.join(map(str, self.seeds))}: give each once")


def reproduce(experiment: Experiment, config: ReproduceConfig, progress: Progress = no_progress) -> Table:
    """Reproduce an experiment, and leave `table.md`, `table.json` and `report.html` in `config.out`.

    Every configuration is checked before the data is prepared, and against the data before any training starts.
    Interrupted, however it ends, it resumes when it is called again: what is done is kept, and trainings continue from
    their checkpoints.

    Args:
        experiment: The table.
        config: What, and where.
        progress: Called now and then with "training", the records seen by all trainings and how many there will be.

    Raises:
        ValueError: If the data is missing or does not fit a row, a row does not fit the scale, or `config.out` holds
            another reproduction.
        ChildProcessError: If a preparation, training or evaluation fails.
    """
    config = _resolved(config)
    raw = _needs_preparation(experiment, config)
    data = str(config.out / "data") if raw else config.data
    shared = experiment.training_on(config.data) if raw else {}
    trainings = _trainings(experiment, config, data, shared)
    for training in trainings:
        training.check_classes()
    make_folder(config.out)
    with _alone(config.out):
        preparation = experiment.preparation(config.scale, config.data) if raw else []
        if raw and not _is_prepared(config.out / "data"):
            _run([_job(config, "the preparation", [*preparation, "--out", data])], 1, os.cpu_count() or 1)
        _check(experiment, trainings, config.out, preparation)
        _train(trainings, config, progress)
        _evaluate(experiment, trainings, config)
        table = _table(experiment, trainings, config)
        table.write(config.out)
        return table


def _trainings(experiment: Experiment, config: ReproduceConfig, data: str, shared: Mapping[str, Any]) -> list[Training]:
    """Every row with every seed."""
    given: dict[str, Any] = {"data": data}
    if config.max_clips is not None:
        given["max_clips"] = config.max_clips
    trainings = []
    for seed in config.seeds:
        for row in experiment.rows:
            name = f"{row.slug}-{seed}"
            training = row.train_config(config.scale, shared, out=str(config.out / "runs" / name), seed=seed, **given)
            trainings.append(Training(row, training, config.out / "evaluations" / name))
    return trainings


def _resolved(config: ReproduceConfig) -> ReproduceConfig:
    """With absolute paths, which are the same from every folder."""
    data = str(Path(config.data).resolve()) if Path(config.data).exists() else config.data
    return replace(config, data=data, out=config.out.resolve())


def _is_prepared(data: Path) -> bool:
    return all((data / split / "manifest.json").is_file() for split in SPLITS)


def _needs_preparation(experiment: Experiment, config: ReproduceConfig) -> bool:
    """Whether the data is raw."""
    folder = open_folder(config.data)
    if (folder / "train").has("manifest.json"):
        return False
    if not experiment.prepare:
        raise ValueError(f"{experiment.name} needs a prepared data set, and {config.data} has no train/manifest.json")
    if not (Path(config.data).exists() or _is_prepared(config.out / "data")):
        raise ValueError(f"there is no {config.data}: give a prepared data set, or the raw data to prepare it from")
    return True


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold a lock that our processes inherit: another reproduction waits until none of them writes to the folder."""
    import fcntl  # of POSIX: all else works without

    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("%s is in use by another reproduction: waiting until it ends", out)
            fcntl.flock(file, fcntl.LOCK_EX)
        os.set_inheritable(file.fileno(), True)
        yield


def _check(experiment: Experiment, trainings: Sequence[Training], out: Path, preparation: Sequence[str]) -> None:
    """Check that rows can be trained and evaluated on the data, and that what was asked for before is the same."""
    data = open_folder(trainings[0].config.data)
    manifests = {split: load_manifest(data / split) for split in SPLITS if (data / split).has("manifest.json")}
    for_all = {
        "preparation": list(preparation),
        "data": {split: manifest.digest for split, manifest in manifests.items()},
        "baseline": experiment.baseline,
        "evaluation": dict(experiment.evaluation),
    }
    asked = {out / "reproduction.yaml": yaml.safe_dump(for_all, sort_keys=False)}
    asked |= {_config_path(training, out): replace(training.config, out="").to_yaml() for training in trainings}
    for path, text in asked.items():
        if path.is_file() and path.read_text(encoding="utf-8") != text:
            raise ValueError(f"{path} is of another reproduction than these arguments: choose another --out")
    for training in trainings:
        if not _config_path(training, out).is_file():
            training.check_data(experiment)
    _check_columns(experiment, manifests["test"].dataset)
    for path, text in asked.items():
        make_folder(path.parent)
        write_atomically(path, text.encode())


def _check_columns(experiment: Experiment, info: DatasetInfo) -> None:
    """Check that an evaluation on the data can give a metric of every column."""
    factors = [*info.static, *info.dynamic]

    def possible(metric: str) -> bool:
        kind, *rest = metric.split("/")
        if info.modality == "segment":
            return kind in {*GROUPS, "use", "probe"}
        return kind in {*SETTINGS, "use", "probe"} and (len(rest) < 2 or rest[0] in factors)  # swap/motion/accuracy

    for column in experiment.columns:
        if not any(map(possible, column.metrics)):
            known = f"{info.modality}s with the factors {', '.join(factors)}"
            raise ValueError(f"{info.name} has {known}: the column {column.title!r} of {experiment.name} is of others")


def _config_path(training: Training, out: Path) -> Path:
    return out / "configs" / f"{training.folder.name}.yaml"


def _train(trainings: Sequence[Training], config: ReproduceConfig, progress: Progress) -> None:
    """Train what is not evaluated yet; a training that is complete ends at once."""
    total, started = sum(training.config.max_clips for training in trainings), time.monotonic()
    before = sum(training.records() for training in trainings)

    def tick() -> None:
        nonlocal before, started
        done = sum(training.records() for training in trainings)
        progress("training", done, total)
        if done < before:  # a training resumed from its checkpoint, which is older than its log
            before, started = done, time.monotonic()
        if done > before:
            hours = (total - done) / (done - before) * (time.monotonic() - started) / 3600
            logger.info("%.1f hours of training left", hours)

    jobs = []
    for training in trainings:
        file = str(_config_path(training, config.out))
        options = ["--config", file, "--data", training.config.data, "--out", str(training.folder), "--resume"]
        if not training.evaluated:
            jobs.append(_job(config, f"the training of {training.folder.name}", ["train", *options]))
    run_jobs(jobs, config.jobs, _threads(trainings, config), tick, TICK)


def _evaluate(experiment: Experiment, trainings: Sequence[Training], config: ReproduceConfig) -> None:
    """Evaluate what is not yet; the first trains the judge, which the others wait for."""
    baselines = {t.config.seed: t for t in trainings if t.row.name == experiment.baseline}
    options = [part for name, value in experiment.evaluation.items() for part in (f"--{name.replace('_', '-')}", value)]
    jobs = []
    for training in trainings:
        if training.evaluated:
            continue
        arguments = ["evaluate", "--run", str(training.folder), "--data", training.config.data]
        arguments += ["--out", str(training.evaluation), *map(str, options)]
        baseline = baselines.get(training.config.seed, training)
        if baseline is not training:
            arguments += ["--baseline", str(baseline.folder)]
        jobs.append(_job(config, f"the evaluation of {training.folder.name}", arguments))
    _run(jobs, config.jobs, _threads(trainings, config))


def _threads(trainings: Sequence[Training], config: ReproduceConfig) -> int:
    """Of each process: the same however many are left, as sums over other parts differ in their last digits."""
    return max(1, (os.cpu_count() or 1) // min(config.jobs, len(trainings)))


def _job(config: ReproduceConfig, name: str, arguments: Sequence[str]) -> Job:
    return Job(name, arguments, config.out / "messages" / f"{name.replace(' ', '-')}.log")


def _run(jobs: Sequence[Job], side_by_side: int, threads: int) -> None:
    if jobs:
        logger.info("%s%s", jobs[0].name, f" and {len(jobs) - 1} more" if len(jobs) > 1 else "")
        run_jobs(jobs, side_by_side, threads, lambda: None, TICK)


def _table(experiment: Experiment, trainings: Sequence[Training], config: ReproduceConfig) -> Table:
    measured = {}
    for row in experiment.rows:
        of_row = [training for training in trainings if training.row is row]
        metrics = [json.loads((t.evaluation / "metrics.json").read_text()) for t in of_row]
        runs = [Run.load(training.folder) for training in of_row]
        parameters = sum(parameter.numel() for parameter in runs[0].method.parameters())
        records = [run.records for run in runs]
        reports = [(t.evaluation / REPORT).relative_to(config.out).as_posix() for t in of_row]
        measured[row.name] = Measured(metrics, parameters, records, reports, of_row[0].panel())
    first = trainings[0].config
    manifest = load_manifest(open_folder(first.data) / "test")
    about = {
        "scale": config.scale,
        "seeds": ", ".join(map(str, config.seeds)),
        "data": f"{manifest.dataset.name}, test split, {len(manifest)} records",
        "SHA-256 of the data": manifest.digest,
        "training": "stored records" if first.make_from is None else "records made anew in every epoch",
        "evaluation": json.dumps(dict(experiment.evaluation)) if experiment.evaluation else "as by default",
    }
    return Table(experiment, measured, about)
