"""The folder of a run whose model was never trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from seqviews.model.methods.cdsvae import CDSVAE
from seqviews.model.report.curves import INFORMATION
from seqviews.model.train.module import CHECKPOINT, CONFIG

TERMS = ("loss", "reconstruction", *sorted(INFORMATION))


def save_run(folder: Path, channels: int = 1, **changes: Any) -> Path:
    """A run for frames of 16 x 16 pixels; `changes` are of the model's arguments in the configuration only."""
    arguments = {"frame_shape": [channels, 16, 16], "width": 0.125, "static_dim": 8, "dynamic_dim": 4, "hidden_dim": 16}
    torch.manual_seed(0)
    model = CDSVAE(**{**arguments, "frame_shape": (channels, 16, 16)})  # type: ignore[arg-type]
    (folder / CHECKPOINT).parent.mkdir(parents=True)
    config = {"batch_size": 32, "model": {"class_path": "seqviews.model.methods.cdsvae.CDSVAE"}}
    config["model"] |= {"init_args": {**arguments, **changes}}  # type: ignore[operator]
    (folder / CONFIG).write_text(yaml.safe_dump(config))
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": weights}, folder / CHECKPOINT)
    return folder


def save_log(run: Path) -> None:
    """The log of 20 steps that never were."""
    (run / "log").mkdir()
    rows = [",".join(map(str, [*(1 / step for _ in TERMS), step])) for step in range(1, 21)]
    (run / "log/metrics.csv").write_text("\n".join([",".join([*TERMS, "step"]), *rows]) + "\n")
