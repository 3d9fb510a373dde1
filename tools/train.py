"""Train a model on a prepared data set."""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
import sys
import warnings
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import lightning
import torch
import yaml
from jsonargparse import ActionConfigFile, ArgumentParser  # type: ignore[attr-defined]  # it builds its __all__
from lightning import Callback
from torch import nn

import seqviews.model
from seqviews.augment.views import MultiView
from seqviews.model.methods.objective import ABLATIONS, Ablation, LossWeights
from seqviews.model.protocol import check_model, class_path_of, with_class_path
from seqviews.model.scaling import MelScale
from seqviews.model.train.callbacks import Validate
from seqviews.model.train.module import CHECKPOINT, CONFIG, VALIDATE_EVERY, StreamData, ViewsModule, make_trainer
from seqviews.model.train.pictures import SHOWN, LogPictures
from seqviews.pipeline.files import write_atomically
from seqviews.pipeline.stream.order import Last
from seqviews.tools.preparing import add_cache_options, opened
from seqviews.tools.run import add_common_options, program, run_tool

PRESETS = Path(seqviews.model.__path__[0]) / "presets"


class PresetAction(ActionConfigFile):
    """`--config`: the name of a preset, or a YAML file."""

    @staticmethod
    def apply_config(parser: Any, cfg: Any, dest: Any, value: Any) -> None:
        """Read a preset by its name, anything else as jsonargparse does."""
        preset = PRESETS / f"{value}.yaml"
        known = ", ".join(sorted(path.stem for path in PRESETS.glob("*.yaml")))
        if not preset.is_file() and not Path(value).is_file():
            raise argparse.ArgumentError(None, f"no preset {value} and no such file; the presets are {known}")
        path = preset if preset.is_file() else Path(value)
        ActionConfigFile.apply_config(parser, cfg, dest, _with_model_class(path))


def _with_model_class(path: Path) -> str:
    """The path of a configuration, or its text with the model's class in place of its registered name."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError:
        return str(path)  # jsonargparse will say what is wrong with it
    model = config.get("model") if isinstance(config, dict) else None
    if not isinstance(model, dict) or "class_path" not in model:
        return str(path)
    try:
        resolved = with_class_path(model)
    except ValueError as error:
        raise argparse.ArgumentError(None, f"{path}: {error}") from error
    return str(path) if resolved == model else yaml.safe_dump({**config, "model": resolved}, sort_keys=False)


class OneLineParser(ArgumentParser):
    """jsonargparse's parser, with errors on one line, and with `--model` taking a registered name too."""

    def parse_args(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:  # type: ignore[override]
        """Parse arguments."""
        given = list(sys.argv[1:] if args is None else args)
        if self.exit_on_error:  # jsonargparse makes parsers of this class for the arguments of each class, too
            try:
                given = _with_model_paths(given)
            except ValueError as error:
                self.error(str(error))
        return super().parse_args(given, *rest, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Exit with code 2."""
        super().error(" ".join(message.split()), ex)


def _with_model_paths(args: list[str]) -> list[str]:
    """Arguments with import paths in place of the names given to --model."""
    return [
        f"--model={class_path_of(arg.removeprefix('--model='))}"
        if arg.startswith("--model=")
        else (class_path_of(arg) if before == "--model" else arg)
        for before, arg in zip(["", *args], args, strict=False)
    ]


def duration(text: str) -> timedelta:
    """A time such as 90s, 60m or 2h."""
    match = re.fullmatch(r"(\d+)([smh])", text)
    if not match:
        raise ValueError(f"{text} is not a time such as 90s, 60m or 2h")
    unit = {"s": "seconds", "m": "minutes", "h": "hours"}[match[2]]
    return timedelta(**{unit: int(match[1])})


def make_parser() -> ArgumentParser:
    """The options of a training; a preset gives those that it names."""
    parser = OneLineParser(prog=program(), description=__doc__)
    parser.add_argument("--config", action=PresetAction, help="a preset's name, or a YAML file")
    parser.add_argument("--data", type=str, required=True, help="folder or URL of a prepared data set")
    parser.add_argument("--out", type=str, required=True, help="folder of the run, new or empty")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out, however it ended")
    parser.add_argument("--max-clips", type=int, default=100_000, help="stop after so many clips or segments")
    parser.add_argument("--max-time", type=str, default=None, help="stop after a time such as 90s, 60m or 2h")
    parser.add_argument(
        "--patience",
        type=int | None,
        default=None,
        help=f"stop after so many validations, one every {VALIDATE_EVERY} steps, without a lower val_loss",
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and views")
    parser.add_argument("--batch-size", type=int, default=64, help="clips or segments in a batch")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="Adam's, at its highest")
    parser.add_argument("--min-frames", type=int, default=2, help="refuse data whose records are shorter")
    parser.add_argument("--last", type=Last, default="keep", help="what to do with a last batch that is not full")
    add_cache_options(parser)
    parser.add_argument("--devices", type=int, default=1, help="processes, each with its part of every batch")
    parser.add_argument("--precision", type=str, default="auto", help="as Lightning's; auto is bf16 where it pays")
    told = "; ".join(f"{name}: {what}" for name, what in ABLATIONS.items())
    parser.add_argument("--ablation", type=Ablation, default="none", help=f"what is left out of the objective; {told}")
    parser.add_class_arguments(LossWeights, "weights")
    parser.add_subclass_arguments(nn.Module, "model", required=True)
    parser.add_subclass_arguments(nn.Module, "motion", required=True)
    parser.add_subclass_arguments(nn.Module, "content", required=True)
    add_common_options(parser)
    return parser


def start_training(
    arguments: argparse.Namespace, parser: ArgumentParser, callbacks: Sequence[Callback] = ()
) -> dict[str, Any]:
    """Train, and return the run's folder, its steps and its last loss."""
    out, data = Path(arguments.out), opened(arguments)
    max_time = None if arguments.max_time is None else duration(arguments.max_time)
    config = _configuration(arguments, parser)
    resumed_at = _resumed_step(out, config) if arguments.resume else None
    rank = int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))  # as torchrun and Lightning set them
    if rank == 0 and not arguments.resume and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} already holds something: remove it, choose another --out, or --resume it")
    lightning.seed_everything(arguments.seed, verbose=False)
    stream = StreamData(
        data,
        batch_size=arguments.batch_size,
        min_frames=arguments.min_frames,
        last=arguments.last,
        seed=arguments.seed,
    )
    steps = math.ceil(arguments.max_clips / arguments.batch_size)
    if resumed_at == steps:
        return {"run": str(out), "steps": steps}
    parts = parser.instantiate(arguments)
    check_model(parts.model)
    mel = stream.stream.manifest.dataset.features.mel
    module = ViewsModule(
        parts.model,
        MultiView(parts.motion, parts.content),
        parts.weights,
        learning_rate=arguments.learning_rate,
        steps=steps,
        seed=arguments.seed,
        ablation=arguments.ablation,
        scale=None if mel is None else MelScale(mel),
    )
    callbacks = [*_validation_callbacks(stream, arguments.patience), *callbacks]
    if rank == 0:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / CONFIG, config.encode())
    trainer = make_trainer(
        out,
        steps=steps,
        max_time=max_time,
        precision=arguments.precision,
        devices=arguments.devices,
        callbacks=callbacks,
        resumed_at=resumed_at,
    )
    try:
        trainer.fit(module, stream, ckpt_path=None if resumed_at is None else out / CHECKPOINT, weights_only=True)
    except RuntimeError as error:  # gloo and NCCL have no class for it
        if trainer.world_size == 1 or "onnection" not in str(error):
            raise
        raise ConnectionError(f"another process of this training has ended; --resume goes on with {out}") from error
    trainer.save_checkpoint(out / CHECKPOINT)
    if rank:
        sys.exit(0)  # one process tells the result
    return {"run": str(out), "steps": trainer.global_step, "loss": float(module.figures()["loss"])}


def _validation_callbacks(stream: StreamData, patience: int | None) -> list[Callback]:
    """What looks at the validation split: its loss, and, of clips, pictures. Nothing if there is no such split."""
    validation = stream.validation()
    if validation is None:
        if patience is not None:
            raise ValueError(f"{stream.data} has no val split, which --patience needs")
        return []
    callbacks: list[Callback] = [Validate(VALIDATE_EVERY, validation, patience)]
    if validation.manifest.dataset.features.mel is None:
        callbacks.append(LogPictures(VALIDATE_EVERY, next(iter(validation)).x[:SHOWN] / 255))
    return callbacks


def _configuration(arguments: argparse.Namespace, parser: ArgumentParser) -> str:
    """The resolved arguments as YAML: all that decides the run, so not how long this call may take of it."""
    kept = arguments.clone()
    for name in ("resume", "max_time", "devices", "cache_size", "cache_folder", "config", "json", "debug"):
        kept.pop(name, None)
    return str(parser.dump(kept, skip_validation=True))


def _resumed_step(out: Path, config: str) -> int | None:
    """The step of the run's checkpoint; None if it ended before there was one."""
    found = (out / CONFIG).read_text(encoding="utf-8") if (out / CONFIG).is_file() else None
    if found is None:
        if out.exists() and any(not path.name.startswith(f".{CONFIG}.") for path in out.iterdir()):
            raise ValueError(f"{out} holds no {CONFIG}: it is not the --out of a training")
        return None
    if found != config:
        differing = sorted(set(config.splitlines()) - set(found.splitlines()))
        told = "; ".join(line.strip() for line in differing[:3]) or "something is missing"
        raise ValueError(f"{out / CONFIG} is of another training than these arguments: {told}")
    if not (out / CHECKPOINT).is_file():
        return None
    return int(torch.load(out / CHECKPOINT, map_location="cpu", weights_only=True, mmap=True)["global_step"])


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and train."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings(
        "ignore", "(Checkpoint|Experiment logs) directory .* exists and is not empty"
    )  # a resumed run
    warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec.` is deprecated")  # Lightning's own call
    parser = make_parser()
    run_tool(lambda arguments: start_training(arguments, parser), parser, argv)


if __name__ == "__main__":
    main()
