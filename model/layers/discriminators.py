"""Networks that tell real from generated: latents, images and clips."""

from torch import Tensor, nn

HIDDEN = 256


class LatentDiscriminator(nn.Module):
    """Latents `[N, D]` to a logit of being from the prior, `[N]`, through two hidden layers of 256 units."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        first, second, last = nn.Linear(dim, HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 1)
        self.layers = nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), last)

    def forward(self, latents: Tensor) -> Tensor:
        """The logits."""
        return self.layers(latents)[:, 0]  # type: ignore[no-any-return]
