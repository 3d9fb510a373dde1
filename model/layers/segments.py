"""Networks for frames of speech: log-mels to features, latents to log-mels.

The paper takes DSVAE's architecture for speech [P C.2] and gives no sizes: frames pass a small multilayer perceptron,
one by one, and so do the latents on their way back.
"""

from torch import Tensor, nn

from seqviews.model.layers.clips import scaled

HIDDEN = 512
MelShape = tuple[int]  # (n_mels,)


class SegmentEncoder(nn.Module):
    """Frames `[N, n_mels]`, of mean 0 and deviation 1, to features `[N, feature_dim]` in (-1, 1).

    Two hidden layers of 512 units times the width, with LeakyReLU(0.2), then tanh as for clips. There is no batch norm:
    what a converted voice has in common with the other voices of its batch would be normalised away.

    Raises:
        ValueError: If the width is not positive.
    """

    def __init__(self, n_mels: int, feature_dim: int, width: float = 1.0) -> None:
        super().__init__()
        self.layers = _perceptron(n_mels, feature_dim, width, nn.LeakyReLU(0.2, inplace=True)).append(nn.Tanh())

    def forward(self, frames: Tensor) -> Tensor:
        """Features of frames."""
        return self.layers(frames)  # type: ignore[no-any-return]


class SegmentDecoder(nn.Module):
    """Latents `[N, latent_dim]` to frames `[N, n_mels]`, of mean 0 and deviation 1, through two hidden layers.

    Raises:
        ValueError: If the width is not positive.
    """

    def __init__(self, n_mels: int, latent_dim: int, width: float = 1.0) -> None:
        super().__init__()
        self.layers = _perceptron(latent_dim, n_mels, width, nn.ReLU(inplace=True))

    def forward(self, latents: Tensor) -> Tensor:
        """Frames of latents, in the dtype of the latents whatever the autocast."""
        return self.layers(latents).to(latents.dtype)  # type: ignore[no-any-return]


def _perceptron(size: int, out: int, width: float, activation: nn.Module) -> nn.Sequential:
    if width <= 0:
        raise ValueError(f"width is {width}; it scales the hidden layers and must be positive")
    hidden = scaled(HIDDEN, width)
    first, second, last = nn.Linear(size, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, out)
    return nn.Sequential(first, activation, second, activation, last)
