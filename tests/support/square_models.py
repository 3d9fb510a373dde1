"""Methods on moving squares, and a judge, whose scores are known beforehand."""

import numpy as np
import torch
from moving_squares import SHADES, SIDE, WAYS, MovingSquares
from torch import Tensor
from torch.nn.functional import one_hot

from seqviews.model.gaussian import Gaussian
from seqviews.model.protocol import Method, Posterior


class PerfectModel(Method):
    """Disentangles a clip of a square exactly: s is its brightness, z_t its mask, the priors are those of the data."""

    def encode(self, x: Tensor) -> Posterior:
        s = x.amax(dim=(1, 2, 3, 4))[:, None]
        return Posterior(_certain(s), _certain((x > 0).float().flatten(2)))

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        return s[:, :, None, None, None] * z.reshape(*z.shape[:2], 1, SIDE, SIDE)

    def sample_static(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.tensor(SHADES)[torch.randint(len(SHADES), (n, 1), generator=generator)] / 255

    def sample_dynamic(self, n: int, length: int, generator: torch.Generator | None = None) -> Tensor:
        clips = MovingSquares((n, 0, 0))
        rng = np.random.default_rng(int(torch.randint(1 << 30, (), generator=generator)))
        masks = [clip.frames > 0 for i in range(n) for clip in clips.records(f"drawn-{i}", rng)]
        return torch.from_numpy(np.stack(masks)).float().flatten(2)


class EntangledModel(PerfectModel):
    """The whole clip is in z and s is ignored: the result of a method that disentangles nothing."""

    def encode(self, x: Tensor) -> Posterior:
        return Posterior(_certain(x.new_zeros(len(x), 1)), _certain(x.flatten(2)))

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        return z.reshape(*z.shape[:2], 1, SIDE, SIDE)

    def sample_dynamic(self, n: int, length: int, generator: torch.Generator | None = None) -> Tensor:
        return super().sample_dynamic(n, length, generator) * self.sample_static(n, generator)[:, :, None]


class SquareGenerator(Method):
    """A generator without an encoder, of the first `shades` shades only."""

    def __init__(self, shades: int = len(SHADES)) -> None:
        super().__init__()
        self.shades = shades

    def sample(self, n: int, length: int, generator: torch.Generator | None = None) -> Tensor:
        model = PerfectModel()
        s = torch.tensor(SHADES)[torch.randint(self.shades, (n, 1), generator=generator)] / 255
        return model.decode(s, model.sample_dynamic(n, length, generator))


def _certain(mean: Tensor) -> Gaussian:
    return Gaussian(mean, torch.zeros_like(mean))


def exact_judge(x: Tensor) -> dict[str, Tensor]:
    """The factors of clips of squares, computed from their pixels."""
    shades = x.amax(dim=(1, 2, 3, 4))[:, None] * 255
    lit = x[:, :, 0] > 0
    pixels = torch.arange(SIDE, dtype=torch.float32)
    columns, rows = lit.any(2).float(), lit.any(3).float()
    path = torch.stack([columns @ pixels / columns.sum(2), rows @ pixels / rows.sum(2)], dim=2)
    steps = (path[:, -1] - path[:, 0])[:, None]
    ways = torch.tensor(list(WAYS.values())).float()
    return {
        "shade": one_hot((shades - torch.tensor(SHADES)).abs().argmin(1), len(SHADES)).float(),
        "way": one_hot((steps * ways).sum(2).argmax(1), len(WAYS)).float(),
        "path": path[:, :, None],
    }
