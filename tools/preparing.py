"""What every preparation tool does the same: its options, and a summary of what was written."""

from __future__ import annotations

import argparse
from typing import Any

from seqviews.pipeline.prepare import Preprocessor, prepare
from seqviews.pipeline.storage import Folder, open_folder
from seqviews.tools.run import progress_bar


def data_folder(text: str) -> Folder:
    """An argument that is a folder on this machine, or a URL of object storage."""
    try:
        return open_folder(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_options(parser: argparse.ArgumentParser, shard_sources: int) -> None:
    """Add --out, --workers, --seed and --shard-sources."""
    parser.add_argument(
        "--out", type=data_folder, required=True, metavar="URL", help="folder or s3:// prefix to write, new or empty"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes; the bytes do not depend on it")
    parser.add_argument("--seed", type=int, default=0, help="order of the sources, and what is random in the records")
    parser.add_argument("--shard-sources", type=int, default=shard_sources, help="whole sources in a shard")


def add_codec(parser: argparse.ArgumentParser) -> None:
    """Add --codec, for clips."""
    parser.add_argument("--codec", choices=["webp", "png", "npy"], default="webp", help="how frames are stored")


def prepare_with(dataset: Preprocessor, arguments: argparse.Namespace) -> dict[str, Any]:
    """Write all splits with the options above; returns records, shards and bytes a split."""
    with progress_bar() as progress:
        manifests = prepare(
            dataset,
            arguments.out,
            seed=arguments.seed,
            shard_sources=arguments.shard_sources,
            workers=arguments.workers,
            progress=progress,
        )
    return {
        split: {"records": len(m), "shards": len(m.shards), "bytes": sum(shard.bytes for shard in m.shards)}
        for split, m in manifests.items()
    }
