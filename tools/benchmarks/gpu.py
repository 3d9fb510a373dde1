"""Measure what wants a GPU, in parts that are bounded in time; each result is written as soon as it is there.

Order: the tests marked `gpu`; the views against Kornia's and torchvision's; the step at the paper's width against a
reconstruction of the released script's; a training of `sprites` at the paper's size, fed by the stream; one of
`smmnist` with its verdict.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from seqviews.model.evaluate.evaluation import EvaluateConfig, evaluate
from seqviews.model.report.curves import read_log
from seqviews.model.train.config import TrainConfig
from seqviews.model.train.runs import LOG, Run
from seqviews.model.train.trainer import train
from seqviews.pipeline.datasets.digits import read_digits
from seqviews.pipeline.datasets.smmnist import MovingDigits
from seqviews.pipeline.datasets.sprites import Sprites
from seqviews.pipeline.files import write_atomically
from seqviews.pipeline.prepare.write import prepare
from seqviews.tools.benchmarks.clock import Clock
from seqviews.tools.benchmarks.step import Side
from seqviews.tools.benchmarks.views import view_sides

SHARES = {"tests": 0.05, "views": 0.06, "step": 0.1, "sprites": 0.09}
PARTS = (*SHARES, "smmnist")  # the last has the time that is left
VIEW_SHAPES = ((64, 8, 64), (512, 8, 64), (64, 16, 224), (512, 16, 224))
TINY_VIEW_SHAPES = ((2, 2, 16),)
STEP_SIDES = (
    "ours_float32",
    "ours_bfloat16",
    "ours_bfloat16_compiled",
    "ours_bfloat16_cuda_graphs",
    "released_float32",
    "released_float32_tuned",
    "released_bfloat16_tuned",
)


@dataclass(frozen=True, kw_only=True)
class GpuBench:
    """What to measure, and where to write it.

    Attributes:
        out: Folder of `gpu.json`, `gpu.log`, the data and the runs; new or empty.
        minutes: Time for all parts together; each has its share.
        device: Where to measure.
        dry_run: Run every part at a tiny size.
        sheets: Folder of the sprite sheets; without them moving digits take their place, and `stand_in` is true.
        digits: Folder of MNIST's IDX files, or `sklearn`.
        parts: Which of `PARTS` to measure.
    """

    out: Path
    minutes: float = 8.0
    device: str = "cuda"
    dry_run: bool = False
    sheets: Path | None = None
    digits: str = "sklearn"
    parts: Sequence[str] = PARTS

    def run(self) -> dict[str, Any]:
        """All parts; a part that fails is reported in its place, and the others run.

        Raises:
            ValueError: If there is no such device.
            FileExistsError: If `out` holds something.
        """
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("there is no CUDA device: --dry-run --device cpu runs every part at a tiny size")
        if self.out.exists() and any(self.out.iterdir()):
            raise FileExistsError(f"{self.out} already holds something: remove it or choose another --out")
        self.out.mkdir(parents=True, exist_ok=True)
        result: dict[str, Any] = {"machine": self._machine(), "dry_run": self.dry_run}
        end = time.perf_counter() + 60 * self.minutes
        for name in (part for part in PARTS if part in self.parts):
            started = time.perf_counter()
            seconds = (end - started) if name == PARTS[-1] else 60 * self.minutes * SHARES[name]
            try:
                result[name] = getattr(self, f"_{name}")(max(seconds, 1.0))
            except Exception as error:  # the next part may work, and time on the device is short
                result[name] = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}
            result[name]["seconds"] = round(time.perf_counter() - started, 1)
            write_atomically(self.out / "gpu.json", (json.dumps(result, indent=1) + "\n").encode())
            with (self.out / "gpu.log").open("a") as log:
                log.write(f"{name}: {json.dumps(result[name])}\n")
        return result

    def _machine(self) -> dict[str, Any]:
        name = torch.cuda.get_device_name() if self.device == "cuda" else platform.processor() or platform.machine()
        versions = {package: version(package) for package in ("torch", "kornia", "lightning")}
        return {"device": name, "python": platform.python_version(), **versions}

    def _tests(self, seconds: float) -> dict[str, Any]:
        """The tests marked `gpu` of a checkout; an installed package has none."""
        tests = Path(__file__).parents[2] / "tests"
        if not tests.is_dir():
            return {"skipped": "an installed package has no tests: run this from a checkout"}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            "gpu",
            "-p",
            "no:cacheprovider",
            str(tests / "test_gpu.py"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(seconds, 120), cwd=tests.parent)
        return {"passed": done.returncode == 0, "summary": done.stdout.strip().splitlines()[-1]}

    def _views(self, seconds: float) -> dict[str, Any]:
        """Clips/s of crop, colour and blur, draws included; peers are given whole batches."""
        shapes = TINY_VIEW_SHAPES if self.dry_run else VIEW_SHAPES
        cases = [(shape, dtype) for shape in shapes for dtype in (torch.float32, torch.float16)]
        result: dict[str, Any] = {}
        for shape, dtype in cases:
            name = f"clips, frames, size {shape}, {str(dtype).removeprefix('torch.')}"
            try:
                sides = view_sides(shape, self.device, dtype)
                result[name] = self._rates(sides, shape[0], seconds / len(cases))
            except torch.OutOfMemoryError:  # a peer's, most likely; smaller cases still count
                result[name] = {"failed": "out of memory"}
        return result

    def _step(self, seconds: float) -> dict[str, Any]:
        """Clips/s of a step at the released architecture, and its share of the rate of one large matrix product."""
        clips, width = (4, 0.125) if self.dry_run else (128, 1.0)
        graphs = self.device == "cuda"
        sides = {n: Side.named(n, clips, width, self.device) for n in STEP_SIDES if graphs or not n.endswith("graphs")}
        rates = self._rates({name: side.run for name, side in sides.items()}, clips, seconds)
        with FlopCounterMode(display=False) as counter:
            sides["ours_float32"].run()
        size = 256 if self.dry_run else 8192
        a = torch.rand(size, size, device=self.device, dtype=torch.bfloat16)
        product = self._rates({"product": lambda: a @ a}, 1, 2.0)["product"]
        peak = 2 * size**3 * product
        share = counter.get_total_flops() / clips * rates["ours_bfloat16"] / peak
        ratio = rates["ours_bfloat16"] / rates["released_float32"]
        return {"clips_per_second": rates, "ratio_to_script": round(ratio, 2), "share_of_matrix_rate": round(share, 3)}

    def _sprites(self, seconds: float) -> dict[str, Any]:
        """A training at the paper's size, fed by the stream."""
        data = self.out / "sprites"
        if self.sheets is None:
            self._prepare_digits(data, digits_per_clip=1)
        else:
            prepare(Sprites(self.sheets), data, workers=os.cpu_count() or 1)
        return {"stand_in": self.sheets is None, **self._train("sprites", data, seconds)}

    def _smmnist(self, seconds: float) -> dict[str, Any]:
        """A training on clips that are made, as long as the time allows, with its curve and its verdict.

        A short one measures the rate first, as the schedule of the learning rate needs the number of clips.
        """
        data, run, end = self.out / "smmnist", self.out / "smmnist-run", time.perf_counter() + seconds
        self._prepare_digits(data, digits_per_clip=2)
        trial = self._train(
            "smmnist", data, 60, out=self.out / "smmnist-trial", make_from=self.digits, max_clips=10_000
        )
        left = 0.78 * (end - time.perf_counter())
        clips = max(10_000, round(0.95 * left * trial["clips_per_second"]))
        result = self._train("smmnist", data, left, out=run, make_from=self.digits, max_clips=clips)
        result["clips"] = clips
        config = EvaluateConfig(judges=self.out, judge_steps=20 if self.dry_run else 2000, max_clips=512)
        log = read_log(run / LOG)
        curve = {name: log.get(name, torch.zeros(0).numpy()).tolist() for name in ("step", "val_loss")}
        return {**result, "curve": curve, "verdict": evaluate(Run.load(run), data, config).metrics}

    def _prepare_digits(self, out: Path, *, digits_per_clip: int) -> None:
        clips = (64, 16, 16) if self.dry_run else (20_000, 1_000, 1_000)
        frames, size = (2, 32) if self.dry_run else (15, 64)
        digits = MovingDigits(read_digits(self.digits), clips, digits_per_clip, frames, size)
        prepare(digits, out, codec="npy", workers=os.cpu_count() or 1)  # compressing them would take most of the time

    def _train(
        self, preset: str, data: Path, seconds: float, *, out: Path | None = None, **changes: Any
    ) -> dict[str, Any]:
        """Clips/s and the share of the time that the trainer waited for data."""
        out = self.out / f"{preset}-run" if out is None else out
        config = TrainConfig.preset(preset, data=str(data), out=str(out), **changes)
        if self.dry_run:
            model = {**config.model, "width": 0.125, "static_dim": 8, "hidden_dim": 16}
            config = replace(config, max_clips=200, batch_size=8, min_frames=2, model=model)
        clock = Clock()
        train(config, max_time=None if self.dry_run else timedelta(seconds=seconds), callbacks=[clock])
        return clock.summary(config.batch_size)

    def _rates(self, sides: Mapping[str, Callable[[], Any]], clips: int, seconds: float) -> dict[str, float]:
        """The median of clips/s of each side, warm, measured in turn until the time is over."""
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for side in sides.values():
            side()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or min(map(len, rates.values())) < (1 if self.dry_run else 3):
            for name, side in sides.items():
                self._synchronise()
                started = time.perf_counter()
                side()
                self._synchronise()
                rates[name].append(clips / (time.perf_counter() - started))
        return {name: round(statistics.median(values), 1) for name, values in rates.items()}

    def _synchronise(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()
