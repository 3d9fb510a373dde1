"""Shard your own data: videos, folders of frames or sound files listed in a CSV."""

import argparse
from pathlib import Path
from typing import Any

from seqviews.pipeline.datasets.csv import KINDS, CsvDataset, Kind, read_index, survey_rows, unread_paths
from seqviews.pipeline.prepare.failures import failure_limit
from seqviews.pipeline.prepare.plan import PLAN
from seqviews.pipeline.sources.audio import SegmentCutter
from seqviews.pipeline.sources.survey import Cutter
from seqviews.pipeline.sources.video import ClipCutter
from seqviews.pipeline.sources.windows import Whole, Window
from seqviews.tools.preparing import add_codec, add_options, prepare_with
from seqviews.tools.run import positive, progress_bar, run_tool, tool_parser


def prepare_folder(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the splits; returns what was written and what was left out, by split."""
    kind: Kind | None = None if arguments.modality == "auto" else arguments.modality
    index = read_index(arguments.csv, arguments.root, kind, arguments.identity)
    cutter = make_cutter(index.kind, arguments)
    with progress_bar() as progress:
        unread = unread_paths(arguments.out, index)
        # what the first survey could read must be readable, else this would be another preparation
        limit = 0 if arguments.out.has(PLAN) else failure_limit(arguments.max_failures, len(index.rows))
        files, features = survey_rows(index, cutter, arguments.workers, progress, unread=unread, max_failures=limit)
    name = arguments.name or arguments.csv.stem.lower()
    dataset = CsvDataset(index, files, cutter, features, name, arguments.licence, arguments.attribution)
    written = prepare_with(dataset, arguments)
    for split, counts in dataset.left_out.items():
        written[split] |= {f"left_out_{name}": count for name, count in counts.items()}
        if remarks := dataset.remarks(split):
            written[split]["remarks"] = remarks
    return written


def make_cutter(kind: Kind, arguments: argparse.Namespace) -> Cutter:
    """The cutter for a kind of files."""
    frames, stride = arguments.frames, arguments.frames if arguments.stride is None else arguments.stride
    if kind == "audio":
        frames = stride = arguments.segment_frames
    window = Whole(arguments.min_frames) if arguments.whole else Window(frames, stride)
    if kind == "audio":
        return SegmentCutter(window)
    return ClipCutter(kind == "frames", window, arguments.frame_step, arguments.size, arguments.grey)


def add_cutting(parser: argparse.ArgumentParser) -> None:
    """Add how files are cut into records, and whose they are; `make_cutter` reads the first."""
    parser.add_argument("--size", type=int, default=64, help="height and width of a frame, in pixels")
    parser.add_argument("--grey", action="store_true", help="one channel instead of three")
    parser.add_argument("--frames", type=int, default=8, help="frames in a clip")
    parser.add_argument("--stride", type=int, help="frames from clip to clip; the length of a clip by default")
    whole = "keep each file whole, as one record; they may differ in length"
    parser.add_argument("--whole", action="store_true", help=whole)
    shortest = "with --whole, leave out files of fewer frames"
    parser.add_argument("--min-frames", type=positive, default=1, metavar="N", help=shortest)
    parser.add_argument("--frame-step", type=int, default=1, help="use only every N-th frame of a video or folder")
    parser.add_argument("--segment-frames", type=int, default=20, help="frames of 10 ms in a segment of sound")
    parser.add_argument("--licence", default="unknown", help="licence of the records")
    parser.add_argument("--attribution", default="unknown", help="people to credit")


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and write the splits."""
    parser = tool_parser(__doc__ or "")
    columns = "columns path and split (train, val, test); other columns are factors"
    parser.add_argument("--csv", type=Path, required=True, help=columns)
    parser.add_argument("--root", type=Path, help="folder that the paths are relative to; the CSV's folder by default")
    kinds = ["auto", *KINDS]
    kind, identity = "kind of files; auto infers it from the paths", "factor whose classes may be in one split only"
    parser.add_argument("--modality", choices=kinds, default="auto", help=kind)
    parser.add_argument("--identity", metavar="COLUMN", help=f"{identity}, e.g. speaker")
    parser.add_argument("--name", help="name of the data set; the CSV's by default")
    add_cutting(parser)
    add_options(parser, shard_sources=50)
    add_codec(parser)
    run_tool(prepare_folder, parser, argv)


if __name__ == "__main__":
    main()
