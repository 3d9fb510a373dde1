"""Shard plain WebDataset tars that others made: videos, images or sound, with labels in JSON members."""

import argparse
from typing import Any

from seqviews.pipeline.datasets.tar_survey import TarLayout, Unread, survey_tars
from seqviews.pipeline.datasets.tars import TarDataset
from seqviews.pipeline.prepare.failures import failure_limit
from seqviews.pipeline.sources.tars import expand_tars
from seqviews.tools.prepare_folder import add_cutting, make_cutter
from seqviews.tools.preparing import add_codec, add_options, prepare_with, to_retry
from seqviews.tools.run import progress_bar, run_tool, tool_parser

SHOWN = 20


def prepare_tars(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the splits; returns what was written and what was left out, by split."""
    kind, extension = next((k, e) for k in ("video", "images", "audio") if (e := getattr(arguments, k)))
    cutter = make_cutter({"images": "frames"}.get(kind, kind), arguments)  # type: ignore[arg-type]  # one of the three
    train, val, test = arguments.splits
    layout = TarLayout(
        tuple(expand_tars(arguments.tars)),
        extension.lower().lstrip("."),
        kind == "images",
        tuple(arguments.factors),
        arguments.identity,
        (train, val, test),
    )
    with progress_bar() as progress:
        survey = survey_tars(layout, cutter, arguments.workers, progress)
    about = {"licence": arguments.licence, "attribution": arguments.attribution}
    dataset = TarDataset.of(layout, cutter, survey, arguments.name, Unread.planned(arguments.out), **about)
    broken = [(source, sample) for source, samples in dataset.broken.items() for sample in samples]
    total = dataset.parameters["tar_samples"]
    if len(broken) > failure_limit(arguments.max_failures, total):
        names = [f"{source.partition('-')[2]}/{s.name}: {s.reason}" if s.name else s.reason for source, s in broken]
        listed = "; ".join(list(dict.fromkeys(names))[:SHOWN]) + ("; ..." if len(broken) > SHOWN else "")
        found = f"{len(broken)} of {total} samples and ends of tars cannot be read"
        raise ValueError(f"{found}: {listed}: mend them, or accept them with --max-failures")
    return prepare_with(dataset, arguments, retry=dataset.to_retry(to_retry(arguments)))


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and write the splits."""
    parser = tool_parser(__doc__ or "")
    tars = "paths, URLs or pipe: commands; {000..099} is a range"
    parser.add_argument("--tars", nargs="+", required=True, metavar="TAR", help=tars)
    kinds = parser.add_mutually_exclusive_group(required=True)
    kinds.add_argument("--video", metavar="EXT", help="a sample has a video in its member of this extension, as mp4")
    kinds.add_argument("--images", metavar="EXT", help="a sample is images, its members that end in this, as jpg")
    kinds.add_argument("--audio", metavar="EXT", help="a sample has sound in its member of this extension, as flac")
    labels = "fields of the JSON member that are factors"
    parser.add_argument("--factors", nargs="+", default=[], metavar="FIELD", help=labels)
    identity = "field of the JSON member whose hash decides the split; by default the content's does"
    parser.add_argument("--identity", metavar="FIELD", help=identity)
    fractions = "of train, val and test"
    parser.add_argument("--splits", type=float, nargs=3, default=[0.8, 0.1, 0.1], metavar="FRACTION", help=fractions)
    parser.add_argument("--name", default="tars", help="name of the data set")
    add_cutting(parser)
    add_options(parser, shard_sources=1)
    add_codec(parser)
    run_tool(prepare_tars, parser, argv)


if __name__ == "__main__":
    main()
