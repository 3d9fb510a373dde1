"""Train a method on the views of a stream, with Lightning."""

import functools
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from seqviews.augment.views import MultiView
from seqviews.model.protocol import Method
from seqviews.model.ranks import synchronise_batch_norm
from seqviews.model.registry import MODELS, VIEWS, build, check_arguments, resolve
from seqviews.model.scaling import scale_of
from seqviews.model.train import callbacks as own
from seqviews.model.train.config import CONFIG, TrainConfig
from seqviews.model.train.data import TrainingData, frame_shape
from seqviews.model.train.module import TrainingModule
from seqviews.model.train.runs import CHECKPOINT, Run
from seqviews.pipeline.features import Features
from seqviews.pipeline.files import make_folder, naming, write_atomically
from seqviews.pipeline.manifest import load_manifest
from seqviews.pipeline.storage.folder import Cache
from seqviews.pipeline.storage.urls import open_folder
from seqviews.pipeline.stream.recordset import RecordSet
from seqviews.pipeline.stream.stream import SequenceStream

LOG_EVERY = 25
CHECKPOINT_EVERY = 250
VALIDATE_EVERY = 500


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    max_time: timedelta | None = None,
    cache: Cache | None = None,
    trust_code: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Train, and leave the run in `config.out`: `config.yaml`, `log/`, `tensorboard/`, `checkpoints/last.ckpt`.

    Args:
        config: What decides the training.
        resume: Continue the run in `config.out`, however it ended; bit for bit as if it had not.
        max_time: Stop after it, if that comes first; the time before a resume counts.
        cache: Of shards from object storage.
        trust_code: Build methods and views that no installed package registers, and so run their code.
        callbacks: More of them; they come first, so that what they add to the metrics is logged.

    Raises:
        FileExistsError: If `config.out` holds something and is not to be resumed.
        ValueError: If it holds another training; if a class is not registered or does not take its arguments; if data
            and configuration do not fit.
        ShardError: If a shard is not what its manifest says.
        FloatingPointError: If a loss is not finite.
        ConnectionError: If another process of the training has ended.
    """
    out = Path(config.out)
    is_first = is_first_process()
    if is_first and not resume and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} already holds something: remove it, choose another --out, or --resume it")
    lightning.seed_everything(config.seed, verbose=False)
    config, data, module = assemble(config, cache=cache, trust_code=trust_code)
    if config.processes > 1:
        synchronise_batch_norm(module.method)
    resumed_at = _resumed_step(out, config) if resume else None
    if resumed_at == config.steps:
        return Run.load(out, trust_code=trust_code)
    callbacks = [*_validation_callbacks(data, module.method, config.patience), *callbacks]
    if is_first:
        make_folder(out)
        write_atomically(out / CONFIG, config.to_yaml().encode())
    trainer = _make_trainer(config, len(module.method.players), max_time, callbacks, resumed_at)
    try:
        with naming(out):
            trainer.fit(module, data, ckpt_path=None if resumed_at is None else out / CHECKPOINT, weights_only=True)
    except RuntimeError as error:  # gloo and NCCL have no class for it
        if trainer.world_size == 1 or "onnection" not in str(error):
            raise
        raise ConnectionError(f"another process of this training has ended; --resume continues {out}") from error
    trainer.save_checkpoint(out / CHECKPOINT)
    return Run(out, config, module.method.eval().cpu(), module.scale.cpu(), module.step)


def is_first_process() -> bool:
    """Whether this process reports, by what torchrun, Slurm and Lightning set before a process group is up."""
    ranks = ("RANK",) if "RANK" in os.environ else ("SLURM_PROCID", "NODE_RANK", "LOCAL_RANK")
    return all(os.environ.get(name, "0") == "0" for name in ranks)


def check_classes(config: TrainConfig) -> None:
    """Check the method and the views that a configuration names, and their arguments, before its data is prepared.

    Raises:
        ValueError: If one is not registered, or does not take an argument.
    """
    check_arguments(config.model, MODELS, ["frame_shape", "sources"])
    for view in (config.motion, config.content, config.anchor):
        if view is not None:
            check_arguments(view, VIEWS, ["voices"])


def assemble(
    config: TrainConfig, *, cache: Cache | None = None, trust_code: bool = False
) -> tuple[TrainConfig, TrainingData, TrainingModule]:
    """What a configuration describes: its data, and the module to train on it; nothing is written.

    Returns:
        The configuration with what the data set decides filled in, the data, the module.

    Raises:
        ValueError, ShardError: As `train`.
    """
    folder = open_folder(config.data, cache=cache)
    features = load_manifest(folder / "train").dataset.features
    sources = functools.cache(lambda: RecordSet(folder / "train").sources())
    facts = {"frame_shape": lambda: list(frame_shape(features)), "sources": lambda: len(sources()[0])}
    _, arguments = resolve(config.model, MODELS, facts=facts, trust_code=trust_code)
    config = replace(config, model={"name": config.model["name"], **arguments})
    method = build(config.model, MODELS, trust_code=trust_code)
    assert isinstance(method, Method)
    if config.make_from is not None and "source" in method.needs:
        needed = f"{config.model['name']} needs the source of each record, and records that are made have none"
        raise ValueError(f"{needed}: train it on the stored records, without --make-from")
    config = _with_views(config, features, method, trust_code)
    given = ("batch_size", "min_frames", "lanes", "window", "last", "seed", "make_from")
    options = {name: getattr(config, name) for name in given}
    options["excerpt"] = config.excerpt_at()
    data = TrainingData(folder, **options, factors=sorted(method.needs - {"motion", "content", "source"}))
    _check_lengths(data.stream.info.features, config, method)
    if config.patience is not None and _validation(data, method) is None:
        reason = "has no val split" if data.validation() is None else "has other sources in its val split"
        raise ValueError(f"{folder} {reason}, so there is no validation loss for --patience")
    motion, content, anchor = (
        None if spec is None else build(spec, VIEWS, trust_code=trust_code)
        for spec in (config.motion, config.content, config.anchor)
    )
    module = TrainingModule(
        method,
        MultiView(motion, content, anchor),  # type: ignore[arg-type]  # classes of others, which the first batch checks
        scale_of(features),
        learning_rate=config.learning_rate,
        optimizer=config.optimizer,
        steps=config.steps,
        seed=config.seed,
        sources=torch.from_numpy(sources()[1]) if "source" in method.needs else None,
    )
    return config, data, module


def _check_lengths(features: Features, config: TrainConfig, method: Method) -> None:
    """Reject records that differ in length where they cannot be padded."""
    least, frames = features.frames
    if least < frames and (config.processes > 1 or not method.takes_lengths):
        found = f"the records of {config.data} have {least} to {frames} frames"
        who = "several processes train" if method.takes_lengths else f"{config.model['name']} trains"
        advice = f"take an excerpt of each, for example --excerpt.frames {least}"
        raise ValueError(f"{found}, and {who} on records of one length only: {advice}")


def _validation(data: TrainingData, method: Method) -> SequenceStream | None:
    """The validation split; None if there is none, or if its sources are not those of the training split."""
    return None if "source" in method.needs else data.validation()


def _with_views(config: TrainConfig, features: Features, method: Method, trust_code: bool) -> TrainConfig:
    """The configuration with just the views that the method needs, by default those of the modality."""
    if config.anchor is not None and features.mel is not None:
        raise ValueError(f"anchor augments clips, and {config.data} holds speech: leave it out")
    voices = 0 if features.mel is None else features.mel.voices
    defaults = {"motion": "video_motion" if features.mel is None else "stored_voices", "content": "temporal_shuffle"}
    chosen: dict[str, Any] = {"motion": None, "content": None}
    for view in chosen.keys() & method.needs:
        spec = getattr(config, view) or {"name": defaults[view]}
        _, arguments = resolve(spec, VIEWS, facts={"voices": lambda: voices}, trust_code=trust_code)
        chosen[view] = {"name": spec["name"], **arguments}
    if config.anchor is not None:
        _, arguments = resolve(config.anchor, VIEWS, trust_code=trust_code)
        chosen["anchor"] = {"name": config.anchor["name"], **arguments}
    return replace(config, **chosen)


def _make_trainer(
    config: TrainConfig, players: int, max_time: timedelta | None, callbacks: list[Callback], resumed_at: int | None
) -> Trainer:
    """A Lightning trainer; it counts the steps of every player."""
    out = Path(config.out)
    terminal = sys.stderr.isatty()
    console = {"file": sys.__stderr__}  # a tool escapes control sequences on sys.stderr
    bar: Callback = RichProgressBar(console_kwargs=console) if terminal else own.ProgressLines(4 * LOG_EVERY)
    last = own.SaveCheckpoint(CHECKPOINT_EVERY, out / CHECKPOINT)
    purge_step = None if resumed_at is None else resumed_at + 1
    ddp = "ddp" if players == 1 else "ddp_find_unused_parameters_true"
    return Trainer(
        default_root_dir=out,
        max_steps=config.steps * players,
        max_time=max_time,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy=ddp if config.processes > 1 else "auto",
        precision=_best_precision() if config.precision == "auto" else config.precision,
        logger=[
            CSVLogger(out, name="", version="log"),
            TensorBoardLogger(out, name="", version="tensorboard", purge_step=purge_step),
        ],
        callbacks=[*callbacks, own.LogMetrics(LOG_EVERY), bar, last],
        plugins=[own.AtomicCheckpoints()],
        log_every_n_steps=1,
        enable_progress_bar=terminal,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _best_precision() -> Literal["32-true", "bf16-mixed"]:
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    cpu = torch.cpu.get_capabilities()
    return "bf16-mixed" if cpu.get("amx_bf16") or cpu.get("avx512_bf16") else "32-true"


def _validation_callbacks(data: TrainingData, method: Method, patience: int | None) -> list[Callback]:
    """What uses the validation split: its loss, and, of clips, images. Nothing if there is no such split."""
    validation = _validation(data, method)
    if validation is None:
        return []
    callbacks: list[Callback] = [own.Validate(VALIDATE_EVERY, validation, patience)]
    features = validation.info.features
    if features.mel is None:
        clips = next(iter(validation)).x[: own.SHOWN, : features.frames[0]]  # of padded clips what all have
        callbacks.append(own.LogImages(VALIDATE_EVERY, clips / 255))
    return callbacks


def _resumed_step(out: Path, config: TrainConfig) -> int | None:
    """The step of the run's checkpoint; None if it ended before there was one."""
    if not (out / CONFIG).is_file():
        if out.exists() and any(not path.name.startswith(f".{CONFIG}.") for path in out.iterdir()):
            raise ValueError(f"{out} holds no {CONFIG}: it is not the --out of a training")
        return None
    found, wanted = (asdict(c) for c in (TrainConfig.read(out / CONFIG), config))
    processes = [c["devices"] * c["nodes"] for c in (wanted, found)]
    if processes[0] != processes[1]:
        message = "resuming on %d devices, started on %d: the batches and losses are the same up to rounding"
        own.logger.warning(message, *processes)
    differing = [n for n in wanted if wanted[n] != found[n] and n not in ("out", "devices", "nodes")]
    if differing:
        changes = "; ".join(f"{name} is {found[name]}, not {wanted[name]}" for name in differing[:3])
        raise ValueError(f"{out / CONFIG} is of another training than these arguments: {changes}")
    if not (out / CHECKPOINT).is_file():
        return None
    state = torch.load(out / CHECKPOINT, map_location="cpu", weights_only=True, mmap=True)
    return int(state["global_step"]) // max(1, len(state["optimizer_states"]))
