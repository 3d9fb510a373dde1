"""Judge a trained model on a prepared data set: metrics.json, a swap grid and a report."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from seqviews.model.evaluation import DRAWS, Encoded, SequenceModel, encode_clips, score
from seqviews.model.figures import Image, diverse, png, sample_grid, swap_grid
from seqviews.model.judge import STEPS, cached_judge
from seqviews.model.report import render_report
from seqviews.model.training import CONFIG, load_model
from seqviews.pipeline.manifest import SPLITS, DatasetInfo, load_manifest
from seqviews.pipeline.shards import write_atomically
from seqviews.pipeline.stream import SequenceStream
from seqviews.tools.preparing import local_folder
from seqviews.tools.run import progress_bar, run_tool, tool_parser

JUDGE_BATCH = 64
GRID_COLUMNS, GRID_ROWS = 4, 5
SWAPS = (
    "Top row: real clips that the s (who) of each column is taken from. Left column: real clips that the z (motion) of "
    "each row is taken from. Every other clip is decoded from the two."
)
DRAWN = (
    "Left column: real clips. Then their z with two draws of s: the motion should stay. Then their s with two draws of "
    "z: the content should stay. The draws are the same in every row."
)
KEYS = """
metrics.json holds figures keyed setting/factor/figure. Settings: real (the real clips: the judge's floor),
reconstruction, swap (s of one clip, z of another), static_drawn (s from its prior, z of a clip), dynamic_drawn (z from
its prior, s of a clip). Figures: accuracy, inception_score, intra_entropy H(y|x) and inter_entropy H(y) in nats of a
factor with classes; error in pixels of a trajectory.
"""


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and evaluate."""
    parser = tool_parser((__doc__ or "") + KEYS)
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="the --out of a training")
    parser.add_argument("--data", type=local_folder, required=True, metavar="URL", help="folder of a prepared data set")
    parser.add_argument("--split", choices=SPLITS, default="test", help="what to evaluate on")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write; by default RUN/evaluation")
    parser.add_argument("--seed", type=int, default=0, help="of the draws, the pairs and the judge")
    parser.add_argument("--batch-size", type=int, default=128, help="clips encoded or decoded at a time")
    parser.add_argument("--max-clips", type=int, metavar="N", help="evaluate N clips only, instead of all of the split")
    parser.add_argument("--judges", type=Path, metavar="DIR", default=_cache(), help="where trained judges are kept")
    parser.add_argument(
        "--judge-steps", type=int, default=STEPS, help=f"batches of {JUDGE_BATCH} a judge is trained on"
    )
    run_tool(evaluate, parser, argv)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seqviews" / "judges"


def evaluate(arguments: argparse.Namespace) -> dict[str, float]:
    """Write `metrics.json`, `swap_grid.png`, `samples.png` and `report.html`; returns the figures."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = load_model(arguments.run).to(device)
    model, seed = cast(SequenceModel, network), arguments.seed
    stream = _stream(arguments.data / arguments.split, arguments.batch_size, seed)
    train, val = (_stream(arguments.data / split, JUDGE_BATCH, seed) for split in ("train", "val"))
    info = stream.manifest.dataset
    _check_shape(model, info, device)
    with progress_bar() as progress:
        judge = cached_judge(
            arguments.judges, train, val, seed=seed, device=device, steps=arguments.judge_steps, progress=progress
        )
        clips = encode_clips(model, judge.predict, stream, device, arguments.max_clips)
        metrics = score(
            model, judge.predict, clips, info, seed=seed, batch_size=arguments.batch_size, progress=progress
        )
    swaps, draws = map(png, _pictures(model, clips, stream, seed))
    about = {
        "data": f"{info.name}, {arguments.split} split, {len(clips)} of {len(stream.manifest)} clips",
        "data's SHA-256": stream.manifest.digest,
        "attribution": f"{info.attribution} ({info.licence})",
        "model": f"{type(network).__name__}, {sum(p.numel() for p in network.parameters()):,} parameters",
        "seed": str(seed),
        "draws": f"{DRAWS} a clip",
        "torch": torch.__version__,
    }
    captioned = [("Swaps", SWAPS, swaps), ("Draws", DRAWN, draws)]
    configuration = (arguments.run / CONFIG).read_text(encoding="utf-8")

    out = arguments.out or arguments.run / "evaluation"
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "swap_grid.png", swaps)
    write_atomically(out / "samples.png", draws)
    write_atomically(out / "metrics.json", (json.dumps(metrics, indent=1) + "\n").encode())
    write_atomically(out / "report.html", render_report(info, metrics, captioned, about, configuration).encode())
    return metrics


def _pictures(model: SequenceModel, clips: Encoded, stream: SequenceStream, seed: int) -> tuple[Image, Image]:
    """The grid of swaps and the grid of draws, of clips that differ from each other."""
    info = stream.manifest.dataset
    generator = torch.Generator().manual_seed(seed)
    content = diverse(_classes(clips.factors, info.static), GRID_COLUMNS, generator)
    motion = diverse(_classes(clips.factors, info.dynamic), GRID_ROWS, generator)
    real_content, real_motion = (_real_clips(stream, clips.indices[places]) for places in (content, motion))
    z = clips.dynamic[motion]
    draws = torch.Generator(z.device).manual_seed(seed)
    return (
        swap_grid(model, clips.static[content], z, real_content, real_motion),
        sample_grid(model, clips.static[motion], z, real_motion, draws),
    )


def _stream(folder: Path, batch_size: int, seed: int) -> SequenceStream:
    return SequenceStream(folder, batch_size, seed=seed, factors=tuple(load_manifest(folder).factors))


def _check_shape(model: SequenceModel, info: DatasetInfo, device: torch.device) -> None:
    """Let the model refuse clips of another shape before minutes go into the judge."""
    length, height, width, channels = info.features.shape
    try:
        with torch.inference_mode():
            model.encode(torch.zeros(1, length, channels, height, width, device=device))
    except ValueError as error:
        raise ValueError(f"the run's model does not take the clips of --data: {error}") from None


def _classes(factors: Mapping[str, Tensor], names: Mapping[str, Any]) -> Tensor:
    """The class factors among `names`, int64 `[N, F]`."""
    count = len(next(iter(factors.values())))
    columns = [factors[name] for name, classes in names.items() if classes is not None]
    return torch.stack(columns, dim=1) if columns else torch.zeros(count, 0, dtype=torch.int64)


def _real_clips(stream: SequenceStream, indices: Tensor) -> Tensor:
    """The clips at these places of the split, `[len(indices), T, C, H, W]` in [0, 1]."""
    wanted, found = set(indices.tolist()), {}
    for batch in stream:
        for clip, index in zip(batch.x, batch.indices.tolist(), strict=True):
            if index in wanted:
                found[index] = clip / 255
    return torch.stack([found[index] for index in indices.tolist()])


if __name__ == "__main__":
    main()
