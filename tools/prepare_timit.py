"""Shard TIMIT: log-mel segments of 0.2 s, each also in other voices."""

import argparse
import sys
from pathlib import Path
from typing import Any

from seqviews.augment.world import VoiceConverter
from seqviews.pipeline.datasets.timit.segments import UtteranceCutter, survey_timit
from seqviews.pipeline.datasets.timit.tree import assign_splits, find_utterances
from seqviews.pipeline.features import MelParameters
from seqviews.pipeline.sources.windows import Window
from seqviews.tools.preparing import add_options, prepare_with
from seqviews.tools.run import progress_bar, run_tool, tool_parser


def prepare_timit(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the splits; returns what was written by split, what was left out and what was skipped."""
    mel = MelParameters(n_mels=arguments.n_mels)
    converter = VoiceConverter(mel.sample_rate, f0_method=arguments.f0_method)
    window = Window(arguments.segment_frames, arguments.segment_frames)
    cutter = UtteranceCutter(window, mel, arguments.voices, converter)
    tree = find_utterances(arguments.timit, arguments.keep_sa)
    splits = assign_splits(tree, arguments.seed)
    threads, strict = arguments.workers, arguments.strict
    with progress_bar() as progress:
        timit = survey_timit(tree, splits, cutter, threads=threads, strict=strict, progress=progress)
    for skip in timit.skipped:
        print(f"skipped ({skip.fault}): {skip.message}", file=sys.stderr)
    with progress_bar() as progress:
        written = prepare_with(timit, arguments, timit.in_hours(progress))
    for split, counts in written.items():
        counts.update(timit.summary(split))
    return {**written, "splits": timit.parameters["splits"], "left_out": timit.left_out}


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and write the splits."""
    parser = tool_parser(__doc__ or "")
    parser.add_argument("--timit", type=Path, required=True, metavar="DIR", help="folder with TRAIN and TEST")
    parser.add_argument("--voices", type=int, default=4, help="number of other voices that each segment is stored in")
    harvest = "pitch estimator; harvest keeps more frames voiced and takes 30 times as long"
    parser.add_argument("--f0-method", choices=["dio", "harvest"], default="dio", help=harvest)
    parser.add_argument("--segment-frames", type=int, default=20, help="frames of 10 ms in a segment")
    parser.add_argument("--n-mels", type=int, default=80, help="mels, from 0 to 8,000 Hz")
    parser.add_argument("--keep-sa", action="store_true", help="keep the two sentences that every speaker reads")
    parser.add_argument("--strict", action="store_true", help="fail instead of skipping a file")
    add_options(parser, shard_sources=20)
    run_tool(prepare_timit, parser, argv)


if __name__ == "__main__":
    main()
