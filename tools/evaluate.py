"""Judge a trained model on a prepared data set: metrics.json, pictures, and report.html that holds all of it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import nn

from seqviews.model.evaluate.clips import DRAWS, check_records, encode_clips, score
from seqviews.model.evaluate.judge import STEPS, cached_judge
from seqviews.model.protocol import SequenceModel
from seqviews.model.report.gallery import pictures_of_clips, pictures_of_log
from seqviews.model.report.html import Picture, render_report
from seqviews.model.train.module import CONFIG
from seqviews.model.train.runs import load_config, load_model, load_scale
from seqviews.pipeline.files import write_atomically
from seqviews.pipeline.manifest import SPLITS, load_manifest
from seqviews.pipeline.storage.folder import Folder
from seqviews.pipeline.stream.recordset import check_agreement
from seqviews.pipeline.stream.stream import SequenceStream
from seqviews.tools.evaluate_speech import judge_speech
from seqviews.tools.preparing import add_data, opened
from seqviews.tools.run import progress_bar, run_tool, tool_parser

JUDGE_BATCH = 64
WEAK_JUDGE = 0.95  # of real clips
KEYS = """
Of clips, metrics.json holds figures keyed setting/factor/figure. Settings: real (the real clips: the judge's floor),
reconstruction, swap (s of one clip, z of another), static_drawn (s from its prior, z of a clip), dynamic_drawn (z from
its prior, s of a clip). Figures: accuracy, inception_score, intra_entropy H(y|x) and inter_entropy H(y) in nats of a
factor with classes; error in pixels of a trajectory. And reconstruction/foreground_psnr in dB, over the pixels that are
not black in the real clip.

Of speech, figures are keyed group/level/figure. Groups: all, many (speakers with ten or more utterances). Levels:
segment, utterance. Figures: content_eer by s, motion_eer by z, gap, motion less content; each also with _low and _high,
its 95 %% interval over speakers. With --beside, the same keys behind less/ are this run less the other. And probe/z and
probe/mel, accuracies from 0 to 1.
"""


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and evaluate."""
    parser = tool_parser((__doc__ or "") + KEYS)
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="the --out of a training")
    add_data(parser)
    parser.add_argument("--split", choices=SPLITS, default="test", help="what to evaluate on")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write; by default RUN/evaluation")
    parser.add_argument("--seed", type=int, default=0, help="of the draws, the pairs and the judge")
    parser.add_argument("--batch-size", type=int, default=128, help="clips encoded or decoded at a time")
    parser.add_argument("--max-clips", type=int, metavar="N", help="evaluate N clips only, instead of all of the split")
    parser.add_argument("--beside", type=Path, metavar="DIR", help="another run of speech, to compare with in pairs")
    parser.add_argument("--judges", type=Path, metavar="DIR", default=_cache(), help="where trained judges are kept")
    parser.add_argument(
        "--judge-steps", type=int, default=STEPS, help=f"batches of {JUDGE_BATCH} a judge is trained on"
    )
    run_tool(evaluate, parser, argv)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seqviews" / "judges"


def evaluate(arguments: argparse.Namespace) -> dict[str, float]:
    """Write `metrics.json`, the pictures and `report.html`; returns the figures."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = load_model(arguments.run).to(device)
    curves = pictures_of_log(arguments.run, load_config(arguments.run).get("batch_size"))
    data = opened(arguments)
    stream = _stream(data / arguments.split, arguments.batch_size, arguments.seed)
    info = stream.manifest.dataset
    about = {
        "data": f"{info.name}, {arguments.split} split",
        "data's SHA-256": stream.manifest.digest,
        "attribution": f"{info.attribution} ({info.licence})",
        "model": f"{type(network).__name__}, {sum(p.numel() for p in network.parameters()):,} parameters",
        "seed": str(arguments.seed),
        "torch": torch.__version__,
    }
    train = _stream(data / "train", JUDGE_BATCH, arguments.seed)
    judged = judge_clips if info.modality == "clip" else judge_speech
    metrics, pictures, report = judged(arguments, network, stream, train, about, curves)
    _write(arguments.out or arguments.run / "evaluation", metrics, pictures, report)
    return metrics


def judge_clips(
    arguments: argparse.Namespace,
    network: nn.Module,
    stream: SequenceStream,
    train: SequenceStream,
    about: Mapping[str, str],
    curves: Sequence[Picture],
) -> tuple[dict[str, float], list[Picture], str]:
    """Figures, pictures and the report of a model of clips."""
    if arguments.beside:
        raise ValueError("--beside compares models of speech only")
    model, seed, device = cast(SequenceModel, network), arguments.seed, next(network.parameters()).device
    val = _stream(opened(arguments) / "val", JUDGE_BATCH, seed)
    info = stream.manifest.dataset
    check_agreement([s.sets[0] for s in (stream, train, val)], stream.factors)
    check_records(model, load_scale(arguments.run), info, device)
    with progress_bar() as progress:
        judge = cached_judge(
            arguments.judges, train, val, seed=seed, device=device, steps=arguments.judge_steps, progress=progress
        )
        clips = encode_clips(model, judge.predict, stream, device, arguments.max_clips)
        metrics = score(
            model, judge.predict, clips, info, seed=seed, batch_size=arguments.batch_size, progress=progress
        )
    _tell_if_weak(metrics, [*info.static, *info.dynamic])
    about = {
        **about,
        "data": f"{about['data']}, {len(clips)} of {len(stream.manifest)} clips",
        "draws": f"{DRAWS} a clip",
    }
    pictures = [*pictures_of_clips(model, clips, stream, info, seed), *curves]
    configuration = (arguments.run / CONFIG).read_text(encoding="utf-8")
    return metrics, pictures, render_report(info, metrics, pictures, about, configuration)


def _tell_if_weak(metrics: Mapping[str, float], factors: Iterable[str]) -> None:
    for factor in factors:
        right = metrics.get(f"real/{factor}/accuracy", 1.0)
        if right < WEAK_JUDGE:
            told = f"the judge names {factor} right in only {right:.0%} of real clips"
            print(f"{told}, so its other figures say little: --judge-steps trains it for longer", file=sys.stderr)


def _write(out: Path, metrics: Mapping[str, float], pictures: Sequence[Picture], report: str) -> None:
    """The report last: where it is, all is."""
    out.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        write_atomically(out / f"{picture.name}.png", picture.png)
    write_atomically(out / "metrics.json", (json.dumps(metrics, indent=1) + "\n").encode())
    write_atomically(out / "report.html", report.encode())


def _stream(folder: Folder, batch_size: int, seed: int) -> SequenceStream:
    return SequenceStream(folder, batch_size, seed=seed, factors=tuple(load_manifest(folder).factors))


if __name__ == "__main__":
    main()
