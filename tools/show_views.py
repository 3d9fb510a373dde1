"""Draw exactly what the model sees at a step of a training: each clip, its motion view and its content view.

The training need not have been run: a step's records and a record's views are pure functions of its arguments.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from seqviews.augment.draws import record_seeds
from seqviews.augment.views import MultiView, Views
from seqviews.model.report.grids import views_grid
from seqviews.model.report.images import Grid, png
from seqviews.model.train.module import CONFIG, StreamData
from seqviews.pipeline.files import write_atomically
from seqviews.pipeline.records import Batch
from seqviews.tools.preparing import opened
from seqviews.tools.run import run_tool, tool_parser
from seqviews.tools.train import make_parser

KEYS = """
The keys of --json: picture, the file; epoch and batch, both counted from 0; clips, the keys of the clips drawn.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a model sees at a step.

    Attributes:
        batch: As it comes from the stream, of all ranks together.
        number: The batch's place in its epoch, counted from 0.
        views: What the loss is computed from.
        params: What was drawn for the motion views.
    """

    batch: Batch
    number: int
    views: Views
    params: Any


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and draw."""
    parser = tool_parser((__doc__ or "") + KEYS)
    training = parser.add_mutually_exclusive_group(required=True)
    training.add_argument("--config", metavar="PRESET", help="a preset's name, or a YAML file, as for train")
    training.add_argument("--run", type=Path, metavar="DIR", help="the --out of a training, for its arguments")
    parser.add_argument("--data", metavar="URL", help="of a prepared data set; not needed with --run")
    parser.add_argument("--step", type=int, required=True, metavar="N", help="which one, from 1 on, as in a run's log")
    parser.add_argument("--out", type=Path, required=True, metavar="PNG", help="the picture to write")
    parser.add_argument("--seed", type=int, metavar="S", help="as for train; if not given, what it has without one")
    parser.add_argument("--count", type=int, default=4, help="clips to draw, the first of the batch")
    parser.add_argument("option", nargs="*", help="more options as for train, behind --, such as: -- --batch-size 32")
    run_tool(show, parser, argv)


def show(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the picture; returns where it is and what it shows."""
    if arguments.count < 1:
        raise ValueError("--count must be at least 1")
    if arguments.run and not (arguments.run / CONFIG).is_file():
        raise ValueError(f"{arguments.run} holds no {CONFIG}: it is not the --out of a training")
    if arguments.config and not arguments.data:
        raise ValueError("--config needs --data, the folder of a prepared data set")
    options = ["--config", str(arguments.run / CONFIG if arguments.run else arguments.config)]
    options += ["--out", str(arguments.out)]  # a training must have one; nothing is written there
    for name in ("data", "seed"):
        if (value := getattr(arguments, name)) is not None:
            options += [f"--{name}", str(value)]
    seen = seen_at(arguments.step, [*options, *arguments.option])
    write_atomically(arguments.out, png(_picture(seen, arguments.count).still()))
    about = {"picture": str(arguments.out), "epoch": seen.batch.epoch, "batch": seen.number}
    return {**about, "clips": seen.batch.keys[: arguments.count]}


def seen_at(step: int, options: list[str]) -> Seen:
    """What the model sees at a step, from 1 on, of a training with these command-line options.

    Raises:
        ValueError: If the training has no such step, or as `StreamData`.
        ShardError: As `SequenceStream`.
    """
    parser = make_parser()
    training = parser.parse_args(options)
    steps = math.ceil(training.max_clips / training.batch_size)
    if not 1 <= step <= steps:
        raise ValueError(f"there is no step {step}: a training with these arguments has steps 1 to {steps}")
    stream = StreamData(
        opened(training),
        batch_size=training.batch_size,
        min_frames=training.min_frames,
        last=training.last,
        seed=training.seed,
    ).stream
    if stream.manifest.dataset.modality != "clip":
        raise ValueError(f"{training.data} holds speech, and only clips can be drawn: evaluate shows and plays speech")
    epoch, number = divmod(step - 1, len(stream))
    stream.load_state_dict({**stream.state_dict(), "epoch": epoch, "batches": number})
    batch = next(iter(stream))
    parts = parser.instantiate(training)
    seeds = record_seeds(training.seed, batch.epoch, batch.indices)
    return Seen(batch, number, MultiView(parts.motion, parts.content)(batch.x, seeds), parts.motion.draw(seeds))


def _picture(seen: Seen, count: int) -> Grid:
    """The first clips and their views, with their keys and what was drawn for them."""
    shown = range(min(count, len(seen.batch.keys)))
    views = seen.views
    return views_grid(
        [
            (views.anchor, [f"{seen.batch.keys[i]}, as it is" for i in shown]),
            (views.motion, [f"motion view: {_drawn(seen.params, i)}" for i in shown]),
            (views.content, [f"content view: frames {' '.join(map(str, views.order[i].tolist()))}" for i in shown]),
        ]
    )


def _drawn(params: Any, clip: int) -> str:
    """A clip's parameters in words, if the view has names for them."""
    if not isinstance(params, Mapping):
        return ""
    own: dict[str, torch.Tensor] = {name: values[clip] for name, values in params.items()}
    if own.pop("batch_prob", torch.ones(())) < 0.5:
        return "left unchanged"
    words = {name: " ".join(f"{value:.2f}" for value in values.flatten().tolist()) for name, values in own.items()}
    return ", ".join(
        f"{name.removesuffix('_factor')} {numbers}".replace(" ", "\u00a0") for name, numbers in words.items()
    )


if __name__ == "__main__":
    main()
