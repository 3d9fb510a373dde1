import torch
from torch import nn
from torch.testing import assert_close

from seqviews.model.layers.pooled import PooledStaticPosterior


def test_it_is_a_mean_over_the_records_own_frames_in_any_order() -> None:
    torch.manual_seed(0)
    posterior = PooledStaticPosterior(5, 4, 3).double()
    features, lengths = torch.randn(3, 6, 5, dtype=torch.float64), torch.tensor([6, 1, 4])
    padded = posterior(features, lengths)
    for row, length in enumerate(lengths.tolist()):
        pooled = sum(posterior.frame(features[row, t]) for t in range(length)) / length
        mean, logvar = nn.functional.linear(posterior.pooled(pooled), posterior.head.weight, posterior.head.bias).chunk(
            2
        )
        assert_close((padded.mean[row], padded.logvar[row]), (mean, logvar))
        alone = posterior(features[row : row + 1, :length].flip(1))
        assert_close(alone.mean[0], mean)
