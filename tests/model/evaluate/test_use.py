import pytest
import torch
from torch import Tensor

from seqviews.model.evaluate.encode import Encoded
from seqviews.model.evaluate.use import ignored_latents, latent_use


class Mixture:
    """Decodes to weighted latents, side by side."""

    def __init__(self, static: float, dynamic: float) -> None:
        self.weights = static, dynamic

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        a, b = self.weights
        return torch.cat([a * s[:, None].expand(-1, z.shape[1], -1), b * z], dim=2)

    def sample_static(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.zeros(n, 3)


def records(count: int) -> Encoded:
    generator = torch.Generator().manual_seed(0)
    values = {"static": torch.randn(count, 3, generator=generator)}
    values["dynamic"] = torch.randn(count, 5, 3, generator=generator)
    return Encoded([str(i) for i in range(count)], torch.arange(count), {}, values)


@pytest.mark.parametrize(("static", "dynamic"), [(1.0, 1.0), (1.0, 2.0), (0.05, 1.0), (1.0, 0.0)])
def test_the_use_is_the_share_of_the_variance(static: float, dynamic: float) -> None:
    use = latent_use(Mixture(static, dynamic), records(4000), maximum=4000)
    share = static**2 / (static**2 + dynamic**2)
    assert use["use/static_exchanged"] == pytest.approx(share, abs=0.03)
    assert use["use/dynamic_exchanged"] == pytest.approx(1 - share, abs=0.03)
    assert use["use/static_drawn"] == pytest.approx(share / 2, abs=0.03), "a draw of zeros has half the distance"
    assert "use/dynamic_drawn" not in use
    ignored = [text.split()[3] for text in ignored_latents(use)]
    assert ignored == [f"{name}:" for name, part in (("s", share), ("z", 1 - share)) if part < 0.01]
