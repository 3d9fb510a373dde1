"""A static posterior that is the same for every order of the frames."""

from torch import Tensor, nn

from seqviews.model.gaussian import Gaussian
from seqviews.model.layers.recurrent import GaussianHead
from seqviews.model.padding import clear_padding


class PooledStaticPosterior(nn.Module):
    """q(s given x): features `[B, T, F]` to a Gaussian `[B, S]`, from the mean over frames of a layer of each.

    Unlike that of an LSTM, it does not depend on the order of the frames.
    """

    def __init__(self, feature_dim: int, hidden_dim: int, static_dim: int) -> None:
        super().__init__()
        self.frame = nn.Sequential(nn.Linear(feature_dim, 2 * hidden_dim), nn.ReLU())
        self.pooled = nn.Sequential(nn.Linear(2 * hidden_dim, 2 * hidden_dim), nn.ReLU())
        self.head = GaussianHead(2 * hidden_dim, static_dim)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Gaussian:
        """Of each record's own frames; the lengths, int64 `[B]`, are those of padded records."""
        frames = clear_padding(self.frame(features), lengths)
        count = features.shape[1] if lengths is None else lengths[:, None]
        return self.head(self.pooled(frames.sum(1) / count))  # type: ignore[no-any-return]
