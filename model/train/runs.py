"""Run: the folder of a training, opened once: its configuration, its method and its scale."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from seqviews.model.protocol import Method
from seqviews.model.registry import MODELS, build
from seqviews.model.scaling import Scale, scale_from_state
from seqviews.model.train.config import CONFIG, TrainConfig

CHECKPOINT, LOG = "checkpoints/last.ckpt", "log/metrics.csv"
WEIGHTS, SCALE = "method.", "scale."  # prefixes of the checkpoint's state


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A training that has saved a checkpoint.

    Attributes:
        folder: Its folder.
        config: Its configuration.
        method: The trained method, in evaluation mode, on the CPU.
        scale: The scale of its records, on the CPU.
        steps: Batches that it was trained on.

    Example:
        >>> Run.load(Path("nowhere"))
        Traceback (most recent call last):
        ValueError: nowhere holds no config.yaml: it is not the --out of a training
    """

    folder: Path
    config: TrainConfig
    method: Method
    scale: Scale
    steps: int

    @property
    def records(self) -> int:
        """Records that it was trained on."""
        return min(self.steps * self.config.batch_size, self.config.max_clips)

    @classmethod
    def load(cls, folder: Path | str, *, trust_code: bool = False) -> Self:
        """Open the `out` folder of a training; `trust_code` as for `trainer.train`.

        Raises:
            ValueError: If the folder holds no training, nothing was saved yet, its method is not registered, or its
                weights are not of this method.
        """
        folder = Path(folder)
        config = TrainConfig.read(folder / CONFIG)
        checkpoint = folder / CHECKPOINT
        if not checkpoint.is_file():
            raise ValueError(f"{folder} holds no {CHECKPOINT}: nothing was saved yet")
        method = build(config.model, MODELS, trust_code=trust_code)
        assert isinstance(method, Method)
        try:
            saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
            state: dict[str, Tensor] = saved["state_dict"]
            steps = int(saved["global_step"]) // len(method.players)
        except Exception as error:  # pickle, zip and torch each raise classes of their own
            raise ValueError(f"{checkpoint} is damaged, or not the checkpoint of a training") from error
        weights, kept = (
            {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            for prefix in (WEIGHTS, SCALE)
        )
        _check_weights(weights, method.state_dict(), checkpoint)
        method.load_state_dict(weights)
        return cls(folder, config, method.eval(), scale_from_state(kept), steps)


def _check_weights(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    """One sentence in place of torch's list of all differences."""
    found, wanted = ({name: list(value.shape) for name, value in w.items()} for w in (weights, expected))
    differing = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
    if differing:
        first = differing[0]
        raise ValueError(
            f"{path} does not fit the model that {CONFIG} names, so it is of another model or another version of "
            f"seqviews: {len(differing)} of {len(wanted)} weights differ, for example {first} is "
            f"{found.get(first, 'missing')} instead of {wanted.get(first, 'absent')}"
        )
