"""Measure stream, excerpts, views, training, making of clips and preparation, each against a peer in the same run.

Both sides take turns, each with its best settings; the figures are medians. Peers that are not installed (webdataset,
pillow) come with the [dev] extra.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch

from seqviews.model.train.config import TrainConfig
from seqviews.model.train.trainer import train
from seqviews.pipeline.storage.folder import Folder
from seqviews.tools.benchmarks.clock import Clock
from seqviews.tools.benchmarks.excerpts import bench_excerpts
from seqviews.tools.benchmarks.gpu import PARTS, GpuBench
from seqviews.tools.benchmarks.made import bench_made
from seqviews.tools.benchmarks.methods import method_steps
from seqviews.tools.benchmarks.speech import bench_speech
from seqviews.tools.benchmarks.step import SIDES, Side
from seqviews.tools.benchmarks.stream import bench_bucket_stream, bench_stream
from seqviews.tools.benchmarks.views import SHAPES, bench_views
from seqviews.tools.preparing import data_folder
from seqviews.tools.run import run_tool, tool_parser


def in_turn(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median rate of each side, measured in turn."""
    turns = [{name: side() for name, side in sides.items()} for _ in range(rounds)]
    return _medians(turns)


def _medians(turns: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(turn[name] for turn in turns), 1) for name in turns[0]}


def bench_step(rounds: int) -> dict[str, Any]:
    """Clips/s of a step at the released architecture, against a reconstruction of the script's, and stages."""
    sides = {name: Side.named(name) for name in SIDES}
    steps = {name: side.step for name, side in sides.items()}
    in_turn(steps, 1)
    rates = in_turn(steps, rounds)
    return {
        "clips_per_second": rates,
        "milliseconds": {name: _medians([side.stages() for _ in range(rounds)]) for name, side in sides.items()},
        "ratio_float32": round(rates["ours_float32"] / rates["released_float32"], 2),
        "ratio_float32_to_tuned": round(rates["ours_float32"] / rates["released_float32_tuned"], 2),
        "ratio_bfloat16": round(rates["ours_bfloat16"] / rates["released_float32"], 2),
        "ratio_bfloat16_to_tuned": round(rates["ours_bfloat16"] / rates["released_bfloat16_tuned"], 2),
    }


def bench_methods(rounds: int) -> dict[str, Any]:
    """Microseconds of processor time a clip of each method's step on Sprites, in turn; views are not made."""
    steps = method_steps()
    in_turn(steps, 1)
    return {"microseconds_per_clip": in_turn(steps, rounds)}


def bench_train(data: Folder, steps: int) -> dict[str, Any]:
    """Clips/s of a training by a preset, and the share of each stage."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        config = TrainConfig.preset("sprites-compact", data=str(data), out=out)
        train(replace(config, max_clips=steps * config.batch_size), callbacks=[clock])
    return clock.summary(config.batch_size)


def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run what was asked for."""
    torch.set_num_threads(arguments.threads)
    cpu = platform.processor() or platform.machine()
    machine = {"date": str(date.today()), "cpu": cpu, "threads": arguments.threads}
    data, rounds = arguments.data, arguments.rounds
    benches: dict[str, Callable[[], dict[str, Any]]] = {
        "views": lambda: bench_views(arguments.size, rounds),
        "step": lambda: bench_step(rounds),
        "stream": lambda: (bench_bucket_stream if data.is_remote else bench_stream)(data, rounds),
        "excerpts": lambda: bench_excerpts(data, rounds),
        "train": lambda: bench_train(data, arguments.steps),
        "made": lambda: bench_made(arguments.digits, rounds, arguments.steps),
        "methods": lambda: bench_methods(rounds),
        "speech": lambda: bench_speech(arguments.timit),
    }
    if arguments.what == "gpu":
        names = [field.name for field in fields(GpuBench)]
        result = GpuBench(**{name: getattr(arguments, name) for name in names}).run()
        if failed := [name for name in arguments.parts if "failed" in result[name]]:
            raise RuntimeError(
                f"{', '.join(failed)} failed: {arguments.out}/gpu.json has the reasons and the other results"
            )
        return result
    separate = ("excerpts", "speech")  # with data of their own
    names = [name for name in benches if name not in separate] if arguments.what == "all" else [arguments.what]
    return {"machine": machine, **{name: benches[name]() for name in names}}


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and measure."""
    parser = tool_parser((__doc__ or "").partition("\n")[0])
    choices = ["views", "step", "stream", "excerpts", "train", "made", "methods", "speech", "gpu", "all"]
    what = "what to measure; all is all but excerpts, speech and gpu"
    parser.add_argument("what", nargs="?", choices=choices, default="all", help=what)
    data = "a prepared Sprites data set; for excerpts, one in pages of JPEG"
    disk = "the disk, to measure its preparation"
    parser.add_argument("--data", type=data_folder, default="data/sprites", metavar="URL", help=data)
    parser.add_argument("--timit", type=Path, default="TIMIT", metavar="DIR", help=disk)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each side")
    parser.add_argument("--steps", type=int, default=30, help="training steps")
    size = "height and width of the frames of views"
    parser.add_argument("--size", type=int, choices=SHAPES, default=64, help=size)
    parser.add_argument("--threads", type=int, default=2, help="torch's threads")
    digits = "folder of MNIST's IDX files, or sklearn, for made and gpu"
    parser.add_argument("--digits", default="sklearn", metavar="DIR|sklearn", help=digits)
    gpu = parser.add_argument_group("gpu", "every part on a GPU, in bounded time (docs/gpu.md)")
    gpu.add_argument("--out", type=Path, default="gpu", metavar="DIR", help="folder of the results, new or empty")
    gpu.add_argument("--minutes", type=float, default=8.0, help="time for all parts together")
    gpu.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="where to measure")
    gpu.add_argument("--dry-run", action="store_true", help="run every part at a tiny size")
    gpu.add_argument("--sheets", type=Path, metavar="DIR", help="the sprite sheets; moving digits if not given")
    gpu.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="which parts to measure")
    parser.set_defaults(json=True)
    run_tool(bench, parser, argv)


if __name__ == "__main__":
    main()
