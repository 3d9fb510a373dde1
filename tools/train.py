"""Train a model on a prepared data set."""

from __future__ import annotations

import argparse
import logging
import math
import re
import warnings
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import lightning
from jsonargparse import ActionConfigFile, ArgumentParser  # type: ignore[attr-defined]  # it builds its __all__
from lightning import Callback
from torch import nn

import seqviews.model
from seqviews.augment.views import MultiView
from seqviews.model.objective import LossWeights
from seqviews.model.training import CHECKPOINT, CONFIG, StreamData, ViewsModule, make_trainer
from seqviews.pipeline.order import Last
from seqviews.tools.run import add_common_options, run_tool

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
        ActionConfigFile.apply_config(parser, cfg, dest, str(preset if preset.is_file() else value))


class OneLineParser(ArgumentParser):
    """jsonargparse's parser, with errors on one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Exit with code 2."""
        super().error(" ".join(message.split()), ex)


def duration(text: str) -> timedelta:
    """A time such as 90s, 60m or 2h."""
    match = re.fullmatch(r"(\d+)([smh])", text)
    if not match:
        raise ValueError(f"{text} is not a time such as 90s, 60m or 2h")
    unit = {"s": "seconds", "m": "minutes", "h": "hours"}[match[2]]
    return timedelta(**{unit: int(match[1])})


def make_parser() -> ArgumentParser:
    """The options of a training; a preset gives those that it names."""
    parser = OneLineParser(prog="train", description=__doc__)
    parser.add_argument("--config", action=PresetAction, help="a preset's name, or a YAML file")
    parser.add_argument("--data", type=str, required=True, help="folder of a prepared data set")
    parser.add_argument("--out", type=str, required=True, help="folder of the run, new or empty")
    parser.add_argument("--max-clips", type=int, default=100_000, help="stop after so many clips")
    parser.add_argument("--max-time", type=str, default=None, help="stop after a time such as 90s, 60m or 2h")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and views")
    parser.add_argument("--batch-size", type=int, default=64, help="clips in a batch")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="Adam's, at its highest")
    parser.add_argument("--min-frames", type=int, default=2, help="refuse data whose clips are shorter")
    parser.add_argument("--last", type=Last, default="keep", help="what to do with a last batch that is not full")
    parser.add_argument("--precision", type=str, default="auto", help="as Lightning's; auto is bf16 where it pays")
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
    out, data = Path(arguments.out), Path(arguments.data)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} already holds something: remove it or choose another --out")
    max_time = None if arguments.max_time is None else duration(arguments.max_time)
    lightning.seed_everything(arguments.seed, verbose=False)
    stream = StreamData(
        data,
        batch_size=arguments.batch_size,
        min_frames=arguments.min_frames,
        last=arguments.last,
        seed=arguments.seed,
    )
    steps = math.ceil(arguments.max_clips / arguments.batch_size)
    parts = parser.instantiate(arguments)
    module = ViewsModule(
        parts.model,
        MultiView(parts.motion, parts.content),
        parts.weights,
        learning_rate=arguments.learning_rate,
        steps=steps,
        seed=arguments.seed,
    )
    out.mkdir(parents=True, exist_ok=True)
    parser.save(arguments, out / CONFIG, multifile=False)
    trainer = make_trainer(out, steps=steps, max_time=max_time, precision=arguments.precision, callbacks=callbacks)
    trainer.fit(module, stream)
    trainer.save_checkpoint(out / CHECKPOINT)
    loss = float(trainer.callback_metrics["loss"])
    return {"run": str(out), "steps": trainer.global_step, "loss": loss}


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and train."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec.` is deprecated")  # Lightning's own call
    parser = make_parser()
    run_tool(lambda arguments: start_training(arguments, parser), parser, argv)


if __name__ == "__main__":
    main()
