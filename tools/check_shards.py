"""Verify a prepared data set: every shard's size, SHA-256 and record count, and every record.

Keys must be unique over their split, records of the shape, type and factors that the manifest says, and no source may
be in two splits. Ends with exit code 1 if anything is wrong, after telling all of it.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import Tensor

from seqviews.pipeline.features import Features
from seqviews.pipeline.files import write_atomically
from seqviews.pipeline.manifest import Manifest, load_manifest
from seqviews.pipeline.records import ShardError
from seqviews.pipeline.shards.check import SplitCheck, check_dataset, split_folders
from seqviews.pipeline.storage.folder import Folder
from seqviews.pipeline.stream.excerpt import Excerpt
from seqviews.pipeline.stream.stream import SequenceStream
from seqviews.tools.preparing import add_cache_options, data_folder, opened
from seqviews.tools.run import positive, progress_bar, run_tool, tool_parser

SHEET_RECORDS, SHEET_COLUMNS, SHEET_FRAMES = 6, 2, 16
BAND_PIXELS, FRAME_PIXELS = 2, 8
KEYS = """
The keys of --json, also when something is wrong: shards, records and bytes of what is as the manifests say; problems, a
list of sentences.
"""


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and check."""
    parser = tool_parser((__doc__ or "") + KEYS)
    parser.add_argument("data", type=data_folder, metavar="URL", help="of a prepared data set, or of one split")
    add_cache_options(parser)
    parser.add_argument("--fast", action="store_true", help="sizes, hashes, counts and keys only: decode no record")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="draw a few records of each split and their factors")
    identity = "static factors, such as speaker, that together say who a record shows: nobody may be in two splits"
    parser.add_argument("--identity", nargs="+", default=[], metavar="FACTOR", help=identity)
    parser.add_argument("--threads", type=positive, default=2, help="shards checked side by side")
    run_tool(check, parser, argv)


def check(arguments: argparse.Namespace) -> dict[str, Any]:
    """Print a table and every problem, or draw the sheet if there are none; returns the totals."""
    if arguments.fast and arguments.identity:
        raise ValueError("--identity reads every record, which --fast leaves alone: give one of the two")
    data, images = opened(arguments), _load_images() if arguments.sheet else None
    options = {name: getattr(arguments, name) for name in ("fast", "identity", "threads")}
    with progress_bar() as progress:
        checks = check_dataset(data, **options, progress=progress)
    console = Console(markup=False, force_terminal=False)
    with console.capture() as table:  # rich itself would exit silently at a closed pipe
        console.print(_table(checks))
    print(table.get(), end="")
    problems = [problem for found in checks.values() for problem in found.problems]
    totals = {name: sum(getattr(found, name) for found in checks.values()) for name in ("shards", "records", "bytes")}
    result = {**totals, "problems": problems}
    if problems:
        if arguments.json:
            print(json.dumps(result))
        if len(problems) == 1:
            raise ShardError(problems[0])
        print("\n".join(problems), file=sys.stderr)
        raise ShardError(f"{len(problems)} problems, listed above; the first: {problems[0]}")
    if images:
        write_atomically(arguments.sheet, _sheet(data, images))
    return result


def _table(checks: Mapping[str, SplitCheck]) -> Table:
    table = Table("split")
    for name in ("shards", "records", "MiB", "problems"):
        table.add_column(name, justify="right")
    for split, found in checks.items():
        numbers = (f"{found.shards:,}", f"{found.records:,}", f"{found.bytes / 2**20:,.1f}", str(len(found.problems)))
        table.add_row(split, *numbers)
    return table


def _load_images() -> ModuleType:
    try:
        return importlib.import_module("seqviews.model.report.images")
    except ModuleNotFoundError as error:
        raise ValueError(f"--sheet needs {error.name}: pip install 'seqviews[train]'") from None


def _sheet(data: Folder, images: ModuleType) -> bytes:
    """A contact sheet as PNG: the first records of each split's stream, which come from as many shards as can be."""
    rows: list[Any] = []
    breaks = set()
    for split, folder in split_folders(data).items():
        manifest = load_manifest(folder)
        count = min(SHEET_RECORDS, len(manifest))
        excerpt, factors = _sheet_excerpt(manifest.dataset.features), tuple(manifest.factors)
        batch = next(iter(SequenceStream(folder, count, window=1, factors=factors, excerpt=excerpt)))
        cells = [
            images.Cell(images.to_frames(_as_clip(x)), f"{split} {key}: {_labels(manifest, batch.factors, i)}")
            for i, (x, key) in enumerate(zip(batch.x, batch.keys, strict=True))
        ]
        breaks.add(len(rows))
        rows += [cells[i : i + SHEET_COLUMNS] for i in range(0, count, SHEET_COLUMNS)]
    grid = images.Grid(rows, breaks, {1}, strip_frames=batch.x.shape[1])
    return bytes(images.png(grid.still()))


def _sheet_excerpt(features: Features) -> Excerpt | None:
    """Of long clips and of records that differ in length, up to 16 frames that span most of the shortest."""
    if features.min_frames is None and (features.mel is not None or features.shape[0] <= SHEET_FRAMES):
        return None
    least, _ = features.frames
    return Excerpt(min(SHEET_FRAMES, least), max(1, least // SHEET_FRAMES), "centre")


def _as_clip(x: Tensor) -> Tensor:
    """A record as `[T, C, H, W]` in [0, 1]; a segment `[T, n_mels]` is one picture, low frequencies at the bottom."""
    if x.ndim == 4:
        return x / 255
    loudness = (x - x.min()) / (x.max() - x.min()).clamp_min(1e-6)
    return loudness.T.flip(0).repeat_interleave(BAND_PIXELS, 0).repeat_interleave(FRAME_PIXELS, 1)[None, None]


def _labels(manifest: Manifest, factors: Mapping[str, Tensor], record: int) -> str:
    """The record's classes by name; a trajectory is left out."""
    classes = {name: names for name, names in manifest.factors.items() if names is not None}
    return ", ".join(f"{name}\u00a0{names[int(factors[name][record])]}" for name, names in classes.items())


if __name__ == "__main__":
    main()
