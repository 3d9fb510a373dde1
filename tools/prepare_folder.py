"""Shard your own data: videos, folders of frames or sound files that a CSV lists."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from seqviews.pipeline.datasets.csv_files import Folder, look_at_files
from seqviews.pipeline.datasets.csv_index import KINDS, Kind, read_index
from seqviews.pipeline.sources.windows import ClipCutter, Cutter, SegmentCutter, Window
from seqviews.tools.preparing import add_codec, add_options, prepare_with
from seqviews.tools.run import progress_bar, run_tool, tool_parser


def make_parser() -> argparse.ArgumentParser:
    """The options; those of clips do nothing for sound, and the other way round."""
    parser = tool_parser(__doc__ or "")
    parser.add_argument(
        "--csv", type=Path, required=True, help="columns path and split (train, val, test); every other one is a factor"
    )
    parser.add_argument("--root", type=Path, help="what the paths are relative to, if not to the CSV's folder")
    parser.add_argument(
        "--modality", choices=["auto", *KINDS], default="auto", help="what the paths are; auto: told from the paths"
    )
    parser.add_argument("--identity", metavar="COLUMN", help="a factor that may not be in two splits, as the speaker")
    parser.add_argument("--size", type=int, default=64, help="height and width of a frame, in pixels")
    parser.add_argument("--grey", action="store_true", help="one channel instead of three")
    parser.add_argument("--frames", type=int, default=8, help="frames in a clip")
    parser.add_argument("--stride", type=int, help="frames from clip to clip; as many as a clip has, if not given")
    parser.add_argument("--frame-step", type=int, default=1, help="take every N-th frame of a video or folder")
    parser.add_argument("--segment-frames", type=int, default=20, help="frames of 10 ms in a segment of sound")
    parser.add_argument("--name", help="of the data set; the CSV's, if not given")
    parser.add_argument("--licence", default="unknown", help="under what terms the records may be used")
    parser.add_argument("--attribution", default="unknown", help="whom to name")
    add_options(parser, shard_sources=50)
    add_codec(parser)
    return parser


def prepare_folder(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the splits; returns what was written and what was left out, by split."""
    kind: Kind | None = None if arguments.modality == "auto" else arguments.modality
    index = read_index(arguments.csv, arguments.root, kind, arguments.identity)
    cutter = make_cutter(index.kind, arguments)
    with progress_bar() as progress:
        total = len(index.rows)
        often = max(1, total // 20)

        def tell(done: int, total: int) -> None:
            if done % often == 0 or done == total:
                progress("files read", done, total)

        files, features = look_at_files(index, cutter, arguments.workers, tell)
    name = arguments.name or arguments.csv.stem.lower()
    dataset = Folder(index, files, cutter, features, name, arguments.licence, arguments.attribution)
    written = prepare_with(dataset, arguments)
    for split, left in dataset.left_out.items():
        written[split] |= {f"left_out_{what}": count for what, count in left.items()}
    return written


def make_cutter(kind: Kind, arguments: argparse.Namespace) -> Cutter:
    """How files of a kind are cut into records."""
    if kind == "audio":
        return SegmentCutter(Window(arguments.segment_frames, arguments.segment_frames))
    window = Window(arguments.frames, arguments.frames if arguments.stride is None else arguments.stride)
    return ClipCutter(
        kind == "frames", window, arguments.frame_step, arguments.size, arguments.grey, codec=arguments.codec
    )


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and write the splits."""
    run_tool(prepare_folder, make_parser(), argv)


if __name__ == "__main__":
    main()
