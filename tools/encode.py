"""Encode a prepared data set with a trained method, into one file that numpy opens."""

import argparse
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from torch import Tensor

from seqviews.model.evaluate.encode import check_records, default_device, encode, join_padded
from seqviews.model.protocol import Encoder, Posterior, require
from seqviews.model.train.runs import Run
from seqviews.pipeline.files import open_atomically
from seqviews.pipeline.manifest import SPLITS, load_manifest
from seqviews.pipeline.records import Batch
from seqviews.pipeline.shards.check import split_folders
from seqviews.pipeline.stream.excerpt import Place
from seqviews.pipeline.stream.recordset import check_agreement
from seqviews.pipeline.stream.stream import SequenceStream
from seqviews.tools.preparing import add_data, opened
from seqviews.tools.run import positive, progress_bar, run_tool, tool_parser

KEYS = """
The file's arrays have a row for each clip or segment, split by split and each split in its order: static [N, S] and
dynamic [N, T, D], the means of the posterior; keys and split as text; and for each factor factor_NAME, classes [N] as
numbers (the manifest has their names) or a trajectory [N, T, ...]. Of excerpts, start has the number of the first frame
in the record [N], and with --place all a record has several rows. Where records differ in length, lengths has their
numbers of frames [N], and what has a row for each frame is padded with 0. The keys of --json: latents, the file; clips,
the number of rows of each split.
"""


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and encode."""
    parser = tool_parser((__doc__ or "") + KEYS)
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="the --out of a training")
    add_data(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="NPZ", help="the file to write")
    parser.add_argument("--split", nargs="+", choices=SPLITS, help="splits to encode; by default all that exist")
    parser.add_argument("--factors", nargs="*", metavar="FACTOR", help="factors to store; by default all that exist")
    place = "of the excerpt that is encoded of each record, by default the centre; whole encodes whole records"
    parser.add_argument("--place", choices=[*get_args(Place), "whole"], help=place)
    parser.add_argument("--batch-size", type=positive, default=128, help="clips or segments encoded at a time")
    parser.add_argument("--trust-code", action="store_true", help="run the code of a method that no package registers")
    run_tool(encode_data, parser, argv)


def encode_data(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the latents; returns the file and the number of records of each split."""
    device, run = default_device(), Run.load(arguments.run, trust_code=arguments.trust_code)
    require(run.method, "encode", purpose="latents")
    method, scale = run.method.to(device), run.scale.to(device)
    data = opened(arguments)
    splits, factors = dict.fromkeys(arguments.split or split_folders(data)), arguments.factors
    if factors is None:
        factors = list(load_manifest(data / next(iter(splits))).factors)
    if run.config.excerpt is None and arguments.place not in (None, "whole"):
        raise ValueError(f"{arguments.run} was trained on whole records, not on excerpts: leave --place out")
    excerpt = None if arguments.place == "whole" else run.config.excerpt_at(arguments.place or "centre")
    options: dict[str, Any] = {"factors": tuple(factors), "excerpt": excerpt}
    streams = [SequenceStream(data / split, arguments.batch_size, **options) for split in splits]
    check_agreement([stream.sets[0] for stream in streams], factors, excerpt)
    check_records(method, scale, streams[0].info, device)
    parts: list[dict[str, Tensor]] = []
    keys: list[str] = []
    counts: dict[str, int] = {}
    with progress_bar() as progress:
        for split, stream in zip(splits, streams, strict=True):
            found = encode(cast(Encoder, method), stream, scale, device, keep=_starts, progress=progress)
            parts.append({**found.values, **{f"factor_{name}": values for name, values in found.factors.items()}})
            keys += found.keys
            counts[split] = len(found)
    arrays = {name: join_padded([part[name] for part in parts]).numpy() for name in parts[0]}
    arrays |= {"keys": np.array(keys), "split": np.repeat(list(counts), list(counts.values()))}
    with open_atomically(arguments.out) as file:
        np.savez(file, allow_pickle=False, **arrays)
    return {"latents": str(arguments.out), "clips": counts}


def _starts(x: Tensor, posterior: Posterior, batch: Batch) -> dict[str, Tensor]:
    return {} if batch.starts is None else {"start": batch.starts}


if __name__ == "__main__":
    main()
