"""Draw what the method sees at a step of a training: each clip, augmented if it has an anchor, and its views.

The training need not have been run: what it sees at a step is a pure function of its arguments.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqviews.model.report.grids import views_grid
from seqviews.model.report.images import png
from seqviews.model.train.config import CONFIG, TrainConfig
from seqviews.model.train.preview import StepViews, views_at
from seqviews.pipeline.files import write_atomically
from seqviews.tools.preparing import add_cache_options, cache_of
from seqviews.tools.run import run_tool, tool_parser
from seqviews.tools.train import config_of, make_parser

KEYS = """
The keys of --json: image, the file; epoch and batch, both counted from 0; clips, the keys of the clips drawn.
"""


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and draw."""
    parser = tool_parser((__doc__ or "") + KEYS)
    training = parser.add_mutually_exclusive_group(required=True)
    training.add_argument("--config", metavar="PRESET", help="a preset's name, or a YAML file, as for train")
    training.add_argument("--run", type=Path, metavar="DIR", help="the --out of a training, for its arguments")
    parser.add_argument("--data", metavar="URL", help="a prepared data set; not needed with --run")
    step = "the step, counted from 1 as in a run's log"
    parser.add_argument("--step", type=int, required=True, metavar="N", help=step)
    parser.add_argument("--out", type=Path, required=True, metavar="PNG", help="the image to write")
    parser.add_argument("--count", type=int, default=4, help="clips to draw, the first of the batch")
    parser.add_argument("--trust-code", action="store_true", help="run the code of classes that are not registered")
    add_cache_options(parser)
    parser.add_argument("option", nargs="*", help="more options of train after --, for example: -- --batch-size 32")
    run_tool(show, parser, argv)


def show(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the image; returns where it is and what it shows."""
    if arguments.count < 1:
        raise ValueError("--count must be at least 1")
    seen = views_at(_config(arguments), arguments.step, cache=cache_of(arguments), trust_code=arguments.trust_code)
    if seen.views.anchor.ndim != 5:
        raise ValueError("the data set holds speech, and only clips can be drawn: evaluate shows and plays speech")
    shown = range(min(arguments.count, len(seen.batch.keys)))
    write_atomically(arguments.out, png(views_grid(_captioned(seen, shown)).still()))
    result = {"image": str(arguments.out), "epoch": seen.batch.epoch, "batch": seen.number}
    return {**result, "clips": [seen.batch.keys[i] for i in shown]}


def _config(arguments: argparse.Namespace) -> TrainConfig:
    if arguments.run:
        TrainConfig.read(arguments.run / CONFIG)  # its errors name the run
    elif not arguments.data:
        raise ValueError("--config needs --data, the folder of a prepared data set")
    options = ["--config", str(arguments.run / CONFIG if arguments.run else arguments.config)]
    options += ["--out", str(arguments.out)]  # a training must have one; nothing is written there
    options += ["--data", arguments.data] if arguments.data else []
    return config_of(make_parser().parse_args([*options, *arguments.option]))


def _captioned(seen: StepViews, shown: range) -> list[tuple[Tensor, list[str]]]:
    """The first clips and their views, with their keys and what was drawn for them."""
    views = seen.views
    anchor = "augmented" if seen.augmented else "the clip itself"
    kinds = [(views.anchor, [f"{seen.batch.keys[i]}, {anchor}" for i in shown])]
    if views.motion is not None:
        kinds.append((views.motion, [f"motion view: {_drawn(seen.params, i)}" for i in shown]))
    if views.order is not None:
        orders = views.order.tolist()
        kinds.append((views.content, [f"content view: frames {' '.join(map(str, orders[i]))}" for i in shown]))
    return kinds


def _drawn(params: Any, clip: int) -> str:
    """A clip's parameters in words, if the view has names for them."""
    if not isinstance(params, Mapping):
        return ""
    own: dict[str, Tensor] = {name: values[clip] for name, values in params.items()}
    if own.pop("batch_prob", torch.ones(())) < 0.5:
        return "left unchanged"
    words = [
        " ".join([name.removesuffix("_factor"), *(f"{value:.2f}" for value in values.flatten().tolist())])
        for name, values in own.items()
    ]
    return ", ".join(text.replace(" ", "\u00a0") for text in words)


if __name__ == "__main__":
    main()
