"""Shard MUG: the face of each take, whole, with its person and expression. People are in one split only."""

import argparse
import sys
from pathlib import Path
from typing import Any, get_args

from seqviews.pipeline.datasets.mug import assign_people, survey_mug
from seqviews.pipeline.datasets.mug_takes import Face, TakeReader, find_takes
from seqviews.tools.preparing import add_codec, add_options, prepare_with
from seqviews.tools.run import positive, progress_bar, run_tool, tool_parser


def prepare_mug(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the splits; returns what was written by split, and what was left out."""
    tree = find_takes(arguments.mug, arguments.keep_neutral)
    splits = assign_people(sorted({take.subject for take in tree.takes}), arguments.seed)
    reader, options = TakeReader(arguments.face, arguments.min_frames), {"threads": arguments.workers}
    with progress_bar() as progress:
        mug = survey_mug(
            tree, splits, reader, size=arguments.size, strict=arguments.strict, progress=progress, **options
        )
    for skip in mug.skipped:
        print(f"skipped ({skip.fault}): {skip}", file=sys.stderr)
    for take in mug.faceless:
        print(f"no face found: {take.folder} is cut like other takes of the person, or in the middle", file=sys.stderr)
    written = prepare_with(mug, arguments)
    for split, counts in written.items():
        counts.update(mug.summary(split))
    return {**written, "left_out": mug.left_out}


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and write the splits."""
    parser = tool_parser(__doc__ or "")
    parser.add_argument(
        "--mug", type=Path, required=True, metavar="DIR", help="folder with 001/anger/take000, or above"
    )
    face = "cascade finds the face in each take, centre takes the middle of the picture, none the whole"
    parser.add_argument("--face", choices=get_args(Face), default="cascade", help=face)
    parser.add_argument("--size", type=positive, default=64, help="height and width of a frame, in pixels")
    shortest = "skip takes of fewer pictures; 43 hold 15, every third"
    parser.add_argument("--min-frames", type=positive, default=43, metavar="N", help=shortest)
    parser.add_argument("--keep-neutral", action="store_true", help="keep the takes without an expression")
    parser.add_argument("--strict", action="store_true", help="fail instead of skipping a take or missing a face")
    add_options(parser, shard_sources=50)
    add_codec(parser)
    run_tool(prepare_mug, parser, argv)


if __name__ == "__main__":
    main()
