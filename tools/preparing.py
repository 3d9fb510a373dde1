"""Options that the tools share, and the call that the preparation tools make."""

import argparse
import sys
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, get_args

from seqviews.pipeline.features import JPEG_QUALITY, PAGE_FRAMES, Codec
from seqviews.pipeline.manifest import Manifest
from seqviews.pipeline.prepare.failures import Failure, read_failures
from seqviews.pipeline.prepare.parts import Part
from seqviews.pipeline.prepare.ray_engine import RayEngine
from seqviews.pipeline.prepare.write import Preprocessor, prepare
from seqviews.pipeline.records import Progress
from seqviews.pipeline.storage.folder import CACHE_SIZE, Cache, Folder
from seqviews.pipeline.storage.urls import open_folder
from seqviews.tools.run import positive, progress_bar


def data_folder(text: str) -> Folder:
    """Convert an argument: a folder on this machine, or a URL in object storage."""
    try:
        return open_folder(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add --data, a data set to read, and the options of the cache; `opened` returns the folder."""
    parser.add_argument("--data", type=data_folder, required=True, metavar="URL", help="a prepared data set")
    add_cache_options(parser)


def add_cache_options(parser: argparse.ArgumentParser) -> None:
    """Add --cache-size and --cache-folder."""
    size = "GB of shards from a bucket to keep on disk"
    parser.add_argument("--cache-size", type=float, default=CACHE_SIZE / 1e9, help=size)
    parser.add_argument("--cache-folder", type=str, default=str(Cache().folder), help="where; it may be shared")


def cache_of(arguments: argparse.Namespace) -> Cache:
    """The cache that the arguments describe."""
    return Cache(Path(arguments.cache_folder), int(arguments.cache_size * 1e9))


def opened(arguments: argparse.Namespace) -> Folder:
    """The data set of the arguments, with the cache that they describe."""
    return open_folder(str(arguments.data), cache=cache_of(arguments))


def add_options(parser: argparse.ArgumentParser, shard_sources: int) -> None:
    """Add --out, --seed, --shard-sources and how the shards are written: --workers, --engine, --part and more."""
    out = "folder or s3:// prefix to write, new or empty"
    parser.add_argument("--out", type=data_folder, required=True, metavar="URL", help=out)
    parser.add_argument("--workers", type=positive, default=2, help="processes; the bytes do not depend on it")
    seed = "decides the order of sources and all randomness in records"
    parser.add_argument("--seed", type=int, default=0, help=seed)
    parser.add_argument("--shard-sources", type=positive, default=shard_sources, help="whole sources per shard")
    engine = "where shards are written: in processes of this machine, or as tasks of a Ray cluster"
    parser.add_argument("--engine", choices=["processes", "ray"], default="processes", help=engine)
    address = "Ray cluster to join, as host:6379 or auto; by default one is started on this machine with --workers"
    parser.add_argument("--address", metavar="HOST:PORT|auto", help=address)
    resources = "what a shard requires on Ray, as cpu=2 memory=4 (GB); others are names of the cluster's resources"
    parser.add_argument("--resources", type=resource, nargs="+", default=[], metavar="NAME=AMOUNT", help=resources)
    share = "write part I of N of the shards, as 2/5; finalize completes them. slurm and rank ask the environment"
    parser.add_argument("--part", type=part_of, metavar="I/N|slurm|rank", help=share)
    add_max_failures(parser)
    retry = "failures.json of a split: prepare again the shards that its sources were left out of"
    parser.add_argument("--retry", type=Path, nargs="+", default=[], metavar="FILE", help=retry)


def add_max_failures(parser: argparse.ArgumentParser) -> None:
    """Add --max-failures."""
    accepted = "sources that may be unreadable, which are left out and listed"
    parser.add_argument("--max-failures", default="0", metavar="N|P%%", help=accepted)


def resource(text: str) -> tuple[str, float]:
    """Convert an argument: a resource and its amount."""
    name, _, amount = text.partition("=")
    return name, float(amount)


def part_of(text: str) -> Part:
    """Convert an argument: a part of the shards."""
    try:
        return Part.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_codec(parser: argparse.ArgumentParser) -> None:
    """Add --codec, --quality and --page-frames, for clips; `prepare_with` reads them."""
    codecs = "how frames are stored; jpeg is lossy, webp is with --quality"
    parser.add_argument("--codec", choices=get_args(Codec), default="webp", help=codecs)
    quality = f"of jpeg (by default {JPEG_QUALITY}) and of lossy webp, 1 to 100"
    parser.add_argument("--quality", type=positive, metavar="Q", help=quality)
    pages = f"frames in an image; by default all, or {PAGE_FRAMES} if clips differ in length or are long"
    parser.add_argument("--page-frames", type=positive, metavar="N", help=pages)


def prepare_with(
    dataset: Preprocessor,
    arguments: argparse.Namespace,
    progress: Progress | None = None,
    retry: Collection[Failure] | None = None,
) -> dict[str, dict[str, Any]]:
    """Write all splits with the options above; returns records, shards and bytes by split.

    `retry` are the failures to retry, by default those in the files of --retry.
    """
    names = ("seed", "shard_sources", "workers", "part", "max_failures")
    options = {name: getattr(arguments, name) for name in names}
    options |= {name: getattr(arguments, name, None) for name in ("codec", "quality", "page_frames")}
    if arguments.engine == "ray":
        options["engine"] = RayEngine(arguments.address, arguments.workers, dict(arguments.resources))
    elif arguments.address or arguments.resources:
        raise ValueError("--address and --resources are for --engine ray: add it, or leave them out")
    failures: list[Failure] = []
    with nullcontext(progress) if progress else progress_bar() as report:
        options["retry"] = to_retry(arguments) if retry is None else retry
        manifests = prepare(dataset, arguments.out, **options, failed=failures.append, progress=report)
    return summary(manifests, failures)


def to_retry(arguments: argparse.Namespace) -> list[Failure]:
    """The failures in the files of --retry."""
    return [failure for file in arguments.retry for failure in read_failures(file)]


def summary(manifests: Mapping[Any, Manifest], failures: list[Failure]) -> dict[str, dict[str, Any]]:
    """Records, shards and bytes by split, and what was left out, which is printed, too."""
    written: dict[str, dict[str, Any]] = {
        split: {"records": len(m), "shards": len(m.shards), "bytes": sum(shard.bytes for shard in m.shards)}
        for split, m in manifests.items()
    }
    for failure in failures:
        print(f"left out: {failure}", file=sys.stderr)
        written[failure.split].setdefault("failures", []).append(failure.as_json())
    return written
