"""Runs whose method was never trained."""

from pathlib import Path
from typing import Any

import torch

from seqviews.model.methods.cdsvae import CDSVAE
from seqviews.model.protocol import Method
from seqviews.model.scaling import PixelScale, Scale
from seqviews.model.train.config import CONFIG, TrainConfig
from seqviews.model.train.runs import CHECKPOINT, LOG, SCALE, WEIGHTS, Run

TERMS = ("loss", *CDSVAE.curves)


def run_of(folder: Path, method: Method, scale: Scale | None = None, **model: Any) -> Run:
    """A run of a method, with a checkpoint; `model` describes it in the configuration."""
    scale = scale or PixelScale()
    (folder / CHECKPOINT).parent.mkdir(parents=True)
    config = TrainConfig(data="data", out=str(folder), model=model, batch_size=32)
    (folder / CONFIG).write_text(config.to_yaml())
    state = {f"{WEIGHTS}{name}": value for name, value in method.state_dict().items()}
    state |= {f"{SCALE}{name}": value for name, value in scale.state_dict().items()}
    torch.save({"state_dict": state, "global_step": 20}, folder / CHECKPOINT)
    return Run(folder, config, method.eval(), scale, 20)


def save_run(
    folder: Path, frame_shape: tuple[int, ...] = (1, 16, 16), scale: Scale | None = None, seed: int = 0, **changes: Any
) -> Path:
    """The folder of a run of C-DSVAE; `changes` are to its arguments in the configuration only."""
    sizes = {"width": 0.125, "static_dim": 8, "dynamic_dim": 4, "hidden_dim": 16}
    torch.manual_seed(seed)
    method = CDSVAE(frame_shape=frame_shape, **sizes)  # type: ignore[arg-type]  # sizes mix int and float
    run_of(folder, method, scale, **{"name": "cdsvae", "frame_shape": list(frame_shape), **sizes, **changes})
    return folder


def save_log(run: Path) -> None:
    """The log of 20 steps that were never taken."""
    (run / LOG).parent.mkdir()
    rows = [",".join(map(str, [*(1 / step for _ in TERMS), step])) for step in range(1, 21)]
    (run / LOG).write_text("\n".join([",".join([*TERMS, "step"]), *rows]) + "\n")
