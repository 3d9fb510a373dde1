"""Evaluate a trained method on a prepared data set: metrics.json, images, and report.html, which holds all of it."""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from seqviews.model.evaluate.evaluation import EvaluateConfig, evaluate
from seqviews.model.train.runs import Run
from seqviews.pipeline.manifest import SPLITS
from seqviews.tools.preparing import add_data, opened
from seqviews.tools.run import positive, progress_bar, run_tool, tool_parser

KEYS = """
For clips, the metrics are keyed setting/factor/metric. Settings: real (the real clips: the ceiling of the judge), held
and shuffled (attacks: real clips, a frame of each in place of all, and with shuffled frames), reconstruction, swap (s
of one clip, z of another), static_drawn (s drawn from its prior, z of a clip), dynamic_drawn (z drawn from its prior, s
of a clip), sampled (clips of a generator without an encoder), static_redrawn and dynamic_redrawn (of such a generator:
one latent drawn anew, where accuracy is how often the judge reads the factors of the other latent as in the first
clip). Metrics: accuracy, inception_score, intra_entropy H(y|x) and inter_entropy H(y) in nats for a factor with
classes; error in pixels for a trajectory. Where classes are pairs, such as two digits, also top_two_accuracy: the two
most probable of the ten digits are the pair, as published accuracies count it; two equal digits are never right.
SETTING/in_order is the fraction of clips whose frames follow each other as in real clips, by a network that tells those
from held and shuffled ones; accuracy_in_order, of dynamic factors, requires it besides the right class, which a
motionless clip may have. Of a factor none of whose classes the judge was trained on, such as people, there is eer
alone, and real/FACTOR/colour_eer, that of the mean colours of real clips. Also reconstruction/foreground_psnr in dB,
over the pixels that are not black in the real clip.

Of both: use/static_exchanged, static_drawn, dynamic_exchanged and dynamic_drawn, how much the decoded records change
when a latent is replaced, relative to unrelated records. Of clips: probe/factor/latent/METRIC, what linear models read
from each latent: s, z_mean (over time), z (flattened), each also with _sample; and chance.

For speech, the metrics are keyed group/level/metric, each also with _low and _high, the ends of its 95 % confidence
interval over speakers. Groups: all, many (speakers with ten or more utterances). Levels: segment, utterance. Metrics:
content_eer with s, motion_eer with z, and gap, motion minus content, by cosine as in the paper; eer/VECTOR/SCORER, of
every vector (s, z, z_mean, each also with _sample; z_deviation; mfcc and mel, which need no training) by cosine, and by
lda and linear, both fitted on training speakers; swap/voice_of_s, voice_of_z, voice_of_another, ceiling,
reconstruction and voice_moved; and of segments swap/words_of_z, words_of_s, words_reconstruction and words_kept. With
--baseline, the same keys after baseline_difference/ are the metrics of this run minus those of the baseline, paired.
Also probe/z and probe/mel, accuracies of sounds from 0 to 1.

metrics.json and --json have all of them; the lines that are printed otherwise leave out intervals, attacks (eer/) and
differences from a baseline.
"""


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and evaluate."""
    default = EvaluateConfig()
    parser = tool_parser((__doc__ or "") + KEYS)
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="the --out of a training")
    add_data(parser)
    parser.add_argument("--split", choices=SPLITS, default=default.split, help="split to evaluate on")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write; by default RUN/evaluation")
    parser.add_argument("--seed", type=int, default=default.seed, help="of judge, pairs, draws and bootstrap")
    parser.add_argument("--batch-size", type=positive, default=default.batch_size, help="records processed at a time")
    parser.add_argument("--max-clips", type=positive, metavar="N", help="evaluate N clips only, not the whole split")
    parser.add_argument("--baseline", type=Path, metavar="DIR", help="another run on speech, to compare with in pairs")
    parser.add_argument("--judges", type=Path, metavar="DIR", default=default.judges, help="where judges are kept")
    steps = "batches to train a judge; by default 800, and of pairs until 97 %% of validation clips are right"
    parser.add_argument("--judge-steps", type=positive, help=steps)
    parser.add_argument("--trust-code", action="store_true", help="run the code of methods that no package registers")
    run_tool(evaluate_run, parser, argv)


def evaluate_run(arguments: argparse.Namespace) -> dict[str, float]:
    """Write the evaluation; returns the metrics, those that are printed unless JSON is asked for."""
    run = Run.load(arguments.run, trust_code=arguments.trust_code)
    options = {field.name: getattr(arguments, field.name) for field in fields(EvaluateConfig)}
    if arguments.baseline:
        options["baseline"] = Run.load(arguments.baseline, trust_code=arguments.trust_code)
    config = EvaluateConfig(**options)
    with progress_bar() as progress:
        evaluation = evaluate(run, opened(arguments), config, progress)
    for sentence in [*evaluation.missing.values(), *evaluation.warnings]:
        print(sentence, file=sys.stderr)
    evaluation.write(arguments.out or arguments.run / "evaluation")
    return evaluation.metrics if arguments.json else {n: v for n, v in evaluation.metrics.items() if _is_headline(n)}


def _is_headline(name: str) -> bool:
    """Whether a metric is printed as a line; of speech there are a thousand, with the ends of their intervals."""
    return not (name.endswith(("_low", "_high")) or "/eer/" in name or name.startswith("baseline_difference/"))


if __name__ == "__main__":
    main()
