"""What every preparation tool does the same: its options, and a summary of what was written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from seqviews.pipeline.prepare.write import Preprocessor, prepare
from seqviews.pipeline.storage.folder import CACHE_SIZE, Cache, Folder
from seqviews.pipeline.storage.urls import open_folder
from seqviews.tools.run import progress_bar


def data_folder(text: str) -> Folder:
    """An argument that is a folder on this machine, or a URL of object storage."""
    try:
        return open_folder(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add --data, a data set to read, and the options of the cache; `opened` gives the folder."""
    parser.add_argument("--data", type=data_folder, required=True, metavar="URL", help="where a prepared data set is")
    add_cache_options(parser)


def add_cache_options(parser: argparse.ArgumentParser) -> None:
    """Add --cache-size and --cache-folder."""
    parser.add_argument(
        "--cache-size", type=float, default=CACHE_SIZE / 1e9, help="GB of shards from a bucket that are kept on disk"
    )
    parser.add_argument("--cache-folder", type=str, default=str(Cache().folder), help="where; it may be shared")


def cache_of(arguments: argparse.Namespace) -> Cache:
    """The cache that the arguments describe."""
    return Cache(Path(arguments.cache_folder), int(arguments.cache_size * 1e9))


def opened(arguments: argparse.Namespace) -> Folder:
    """The data set of the arguments, with the cache that they describe."""
    return open_folder(str(arguments.data), cache=cache_of(arguments))


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
