"""The rate at which clips of moving digits are made, against that at which a training takes them."""

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from seqviews.model.train.config import TrainConfig
from seqviews.model.train.trainer import train
from seqviews.pipeline.datasets.digits import read_digits
from seqviews.pipeline.datasets.smmnist import MovingDigits
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.stream.made import MadeStream
from seqviews.tools.benchmarks.clock import Clock

PRESET, SIZE, CLIPS = "smmnist-compact", 32, 4096


def bench_made(digits: str, rounds: int, steps: int) -> dict[str, Any]:
    """Clips/s of one thread that makes clips, of a training on them by the preset, and the first over the second."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "run")
        config = TrainConfig.preset(PRESET, data=str(Path(folder) / "data"), out=out, make_from=digits)
        config = replace(config, max_clips=steps * config.batch_size)
        dataset = MovingDigits(read_digits(digits), (CLIPS, 0, 0), 2, config.min_frames, SIZE)
        stream = MadeStream(dataset, config.batch_size, threads=1)
        next(iter(stream))  # resizes the digits
        made = statistics.median(_clips_per_second(stream) for _ in range(rounds))
        prepare(dataset, config.data, codec="npy", shard_sources=CLIPS)
        clock = Clock()
        train(config, callbacks=[clock])
    summary = clock.summary(config.batch_size)
    training = summary["clips_per_second"]
    rates = {"made": round(made, 1), "training": training}
    return {"clips_per_second": rates, "ratio": round(made / training, 1), "percent": summary["percent"]}


def _clips_per_second(stream: MadeStream) -> float:
    started = time.perf_counter()
    clips = sum(len(batch.keys) for batch in stream)
    return clips / (time.perf_counter() - started)
