"""What a training left behind: its configuration and its trained model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from seqviews.model.scaling import MelScale, PixelScale
from seqviews.model.train.module import CHECKPOINT, CONFIG, build_model
from seqviews.pipeline.manifest import MelFeatures

PREFIX = "model."  # of the model's weights in a checkpoint of `ViewsModule`
SCALE = "scale."  # of the mels' mean and deviation there


def load_config(run: Path) -> dict[str, Any]:
    """The resolved configuration of a run's folder.

    Raises:
        ValueError: If there is none, or it is not that of a training.
    """
    path = run / CONFIG
    if not path.is_file():
        raise ValueError(f"{run} holds no {CONFIG}: it is not the --out of a training")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        config = None
    if not isinstance(config, dict) or not isinstance(config.get("model"), dict):
        raise ValueError(f"{path} is not the configuration of a training: it names no model")
    return config


def load_model(run: Path) -> nn.Module:
    """The trained model of a run's folder, in evaluation mode, on the CPU.

    Raises:
        ValueError: If the folder holds no training, nothing was saved yet, or its weights are not of this model.
    """
    model = build_model(load_config(run)["model"])
    state = _load_state(run)
    weights = {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
    _check_weights(weights, model.state_dict(), run / CHECKPOINT)
    model.load_state_dict(weights)
    return model.eval()


def load_scale(run: Path) -> PixelScale | MelScale:
    """How a run scaled its records: mels by the mean and deviation of what it was trained on, on the CPU.

    Raises:
        ValueError: If the folder holds no training, or nothing was saved yet.
    """
    kept = {name.removeprefix(SCALE): value for name, value in _load_state(run).items() if name.startswith(SCALE)}
    if not kept:
        return PixelScale()
    return MelScale(MelFeatures(tuple(kept["mean"].tolist()), tuple(kept["deviation"].tolist())))


def _load_state(run: Path) -> dict[str, Tensor]:
    path = run / CHECKPOINT
    if not path.is_file():
        raise ValueError(f"{run} holds no {CHECKPOINT}: nothing was saved yet")
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except Exception as error:  # pickle, zip and torch each raise classes of their own
        raise ValueError(f"{path} is damaged, or no checkpoint of a training") from error
    return state


def _check_weights(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    """One sentence in place of torch's list of everything that differs."""
    found, wanted = ({name: list(value.shape) for name, value in w.items()} for w in (weights, expected))
    differing = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
    if differing:
        first = differing[0]
        told = f"{first} is {found.get(first, 'missing')} in place of {wanted.get(first, 'nothing')}"
        raise ValueError(
            f"{path} does not fit the model that {CONFIG} names, so it is of another model or another version of "
            f"seqviews: {len(differing)} of {len(wanted)} weights differ, such as {told}"
        )
