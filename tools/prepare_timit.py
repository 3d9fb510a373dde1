"""Shard TIMIT: log-mel segments of 0.2 s, each also in other voices."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from seqviews.augment.world import VoiceConverter
from seqviews.pipeline.datasets.timit.segments import Cut, Timit, listen
from seqviews.pipeline.datasets.timit.tree import assign_splits, find_utterances
from seqviews.pipeline.manifest import MelParameters, Split
from seqviews.pipeline.prepare.write import prepare
from seqviews.tools.preparing import add_options
from seqviews.tools.run import progress_bar, run_tool, tool_parser


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = tool_parser(__doc__ or "")
    parser.add_argument("--timit", type=Path, required=True, metavar="DIR", help="folder with TRAIN and TEST")
    parser.add_argument("--voices", type=int, default=4, help="other voices that each segment is stored in")
    parser.add_argument(
        "--f0-method",
        choices=["dio", "harvest"],
        default="dio",
        help="how the pitch is found; harvest keeps more frames voiced and takes 30 times as long",
    )
    parser.add_argument("--segment-frames", type=int, default=20, help="frames of 10 ms in a segment")
    parser.add_argument("--n-mels", type=int, default=80, help="mels, from 0 to 8,000 Hz")
    parser.add_argument("--keep-sa", action="store_true", help="keep the two sentences that every speaker says")
    parser.add_argument("--strict", action="store_true", help="fail where a file would be skipped")
    add_options(parser, shard_sources=20)
    return parser


def prepare_timit(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the splits; returns what was written by split, what was left out and what was skipped."""
    mel = MelParameters(n_mels=arguments.n_mels)
    converter = VoiceConverter(mel.sample_rate, f0_method=arguments.f0_method)
    cut = Cut(arguments.segment_frames, mel, arguments.voices, converter)
    tree = find_utterances(arguments.timit, arguments.keep_sa)
    splits = assign_splits(tree, arguments.seed)
    with progress_bar() as progress:

        def tell_read(done: int, total: int) -> None:
            if done % max(1, total // 20) == 0 or done == total:
                progress("utterances read", done, total)

        timit = listen(tree, splits, cut, threads=arguments.workers, strict=arguments.strict, progress=tell_read)
        for skip in timit.skipped:
            print(f"skipped ({skip.fault}): {skip.message}", file=sys.stderr)

        def tell_written(split: Split, done: int, total: int) -> None:
            # Utterances become hours by their share of the split, as the shards end in any order.
            hours = timit.seconds(split) / 3600
            progress(f"{split}, hours of speech", round(hours * done / total, 3), round(hours, 3))

        manifests = prepare(
            timit,
            arguments.out,
            seed=arguments.seed,
            shard_sources=arguments.shard_sources,
            workers=arguments.workers,
            progress=tell_written,
        )
    written: dict[str, Any] = {}
    for split, manifest in manifests.items():
        written[split] = {"records": len(manifest), "shards": len(manifest.shards), **_about(timit, split)}
        written[split]["bytes"] = sum(shard.bytes for shard in manifest.shards)
    return {**written, "splits": timit.parameters["splits"], "left_out": timit.left_out}


def _about(timit: Timit, split: Split) -> dict[str, Any]:
    """Speakers, utterances and hours of speech."""
    speakers = {one.utterance.speaker for one in timit.heard if timit.splits[one.utterance.speaker] == split}
    return {
        "speakers": len(speakers),
        "utterances": len(timit.sources(split)),
        "hours": round(timit.seconds(split) / 3600, 3),
    }


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and write the splits."""
    run_tool(prepare_timit, make_parser(), argv)


if __name__ == "__main__":
    main()
