"""Encode a prepared data set with a trained model, into one file that numpy opens."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from seqviews.model.evaluate.clips import check_records
from seqviews.model.evaluate.encode import encode_split
from seqviews.model.protocol import SequenceModel
from seqviews.model.train.runs import load_model, load_scale
from seqviews.pipeline.files import open_atomically
from seqviews.pipeline.manifest import SPLITS, load_manifest
from seqviews.pipeline.shards.check import split_folders
from seqviews.pipeline.stream.recordset import check_agreement
from seqviews.pipeline.stream.stream import SequenceStream
from seqviews.tools.preparing import add_data, opened
from seqviews.tools.run import progress_bar, run_tool, tool_parser

KEYS = """
The file's arrays, a row a clip or segment, split by split and each in its order: static [N, S] and dynamic [N, T, D],
the means of the posterior; keys and split as text; and for each factor factor_NAME, classes [N] as numbers (the
manifest has their names) or a trajectory [N, T, ...]. The keys of --json: latents, the file; clips, the rows of each
split.
"""


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and encode."""
    parser = tool_parser((__doc__ or "") + KEYS)
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="the --out of a training")
    add_data(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="NPZ", help="the file to write")
    parser.add_argument("--split", nargs="+", choices=SPLITS, help="what to encode; by default all there are")
    parser.add_argument("--factors", nargs="*", metavar="FACTOR", help="factors to store; by default all there are")
    parser.add_argument("--batch-size", type=int, default=128, help="clips or segments encoded at a time")
    run_tool(encode, parser, argv)


def encode(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the latents; returns the file and how many clips of each split are in it."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network, scale = load_model(arguments.run).to(device), load_scale(arguments.run).to(device)
    model = cast(SequenceModel, network)
    data = opened(arguments)
    splits = dict.fromkeys(arguments.split or split_folders(data))
    folders = [data / split for split in splits]
    factors = arguments.factors
    if factors is None:
        factors = list(load_manifest(folders[0]).factors)
    streams = [SequenceStream(folder, arguments.batch_size, factors=tuple(factors)) for folder in folders]
    check_agreement([stream.sets[0] for stream in streams], factors)
    check_records(model, scale, streams[0].manifest.dataset, device)
    with progress_bar() as progress:
        parts = [encode_split(model, stream, device, scale, progress) for stream in streams]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    with open_atomically(arguments.out) as file:
        np.savez(file, allow_pickle=False, **arrays)
    counts = {split: len(part["keys"]) for split, part in zip(splits, parts, strict=True)}
    return {"latents": str(arguments.out), "clips": counts}


if __name__ == "__main__":
    main()
