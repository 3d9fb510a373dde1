"""Reproduce a table: prepare its data, train and evaluate its rows, and write table.md, table.json and report.html."""

import argparse
import os
from pathlib import Path
from typing import Any, get_args

import torch

from seqviews.model.reproduce.experiment import Experiment, Scale, experiments
from seqviews.model.reproduce.reproduce import ReproduceConfig, reproduce
from seqviews.tools.run import positive, progress_bar, run_tool, tool_parser

HELP = """
Repeated, it resumes, however it ended. An experiment is a YAML file: its title, columns (a name in metrics.json each),
and rows (a preset or a configuration each, and what was published). Copy one and change it to add a row; a row may name
the method of any installed package.
"""


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and reproduce."""
    parser = tool_parser((__doc__ or "") + HELP)
    known = ", ".join(experiments())
    parser.add_argument("table", metavar="TABLE", help=f"a YAML file, or one of {known}")
    scales = "compact is for CPUs, paper for a GPU"
    parser.add_argument("--scale", choices=get_args(Scale), default="compact", help=scales)
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0], metavar="N", help="a training of each row for each"
    )
    data = "a prepared data set, or the raw data, as of the tool that prepares it"
    parser.add_argument("--data", required=True, metavar="DIR", help=data)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write, or to resume")
    jobs = "trainings side by side, each with its part of the cores; by default one a core, or one with a GPU"
    side_by_side = 1 if torch.cuda.is_available() else os.cpu_count() or 1
    parser.add_argument("--jobs", type=positive, default=side_by_side, metavar="N", help=jobs)
    clips = "records that each training sees; by default those of its configuration"
    parser.add_argument("--max-clips", type=positive, metavar="N", help=clips)
    run_tool(reproduce_table, parser, argv)


def reproduce_table(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the table; returns where it is."""
    options = {name: getattr(arguments, name) for name in ("data", "out", "scale", "seeds", "jobs", "max_clips")}
    with progress_bar() as progress:
        reproduce(Experiment.read(arguments.table), ReproduceConfig(**options), progress)
    return {name: str(arguments.out / file) for name, file in {"table": "table.md", "report": "report.html"}.items()}


if __name__ == "__main__":
    main()
