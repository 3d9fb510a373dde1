"""Recurrent networks: features of frames to static and dynamic latents, and the prior of the dynamic ones."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqviews.model.gaussian import Gaussian
from seqviews.model.padding import recur


class GaussianHead(nn.Linear):
    """A linear layer `[..., in] -> Gaussian [..., out]`."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, 2 * out_features)

    def forward(self, hidden: Tensor) -> Gaussian:  # type: ignore[override]
        """The distribution that a hidden state stands for."""
        mean, logvar = super().forward(hidden).chunk(2, dim=-1)
        return Gaussian(mean, logvar)


class StaticPosterior(nn.Module):
    """q(s given x): features `[B, T, F]` to a Gaussian `[B, S]`, from a bi-LSTM's two last states [P C.2]."""

    def __init__(self, feature_dim: int, hidden_dim: int, static_dim: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(feature_dim, hidden_dim, batch_first=True, bidirectional=True)
        self.head = GaussianHead(2 * hidden_dim, static_dim)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Gaussian:
        """From the forward state after a record's last frame and the backward state after frame 1.

        The lengths, int64 `[B]`, are those of padded records.
        """
        _, last = recur(self.lstm, features, lengths)
        return self.head(torch.cat(tuple(last), dim=-1))  # type: ignore[no-any-return]


class DynamicPosterior(nn.Module):
    """q(z_t given x_1..t): features `[B, T, F]` to a Gaussian `[B, T, D]`, from a forward LSTM [P C.2].

    Samples of z are not fed back, as in section C.2; the paper's equation 2, q(z_t given z_<t, x_1..t), would allow it.
    """

    def __init__(self, feature_dim: int, hidden_dim: int, dynamic_dim: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(feature_dim, hidden_dim, batch_first=True)
        self.head = GaussianHead(hidden_dim, dynamic_dim)

    def forward(self, features: Tensor) -> Gaussian:
        """Frame t's distribution depends on the features up to frame t."""
        return self.head(self.lstm(features)[0])  # type: ignore[no-any-return]


class DynamicPrior(nn.Module):
    """p(z_t given z_<t), z_0 = 0: a learned prior over trajectories, by an LSTM [P 2.1, C.2]."""

    def __init__(self, hidden_dim: int, dynamic_dim: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dynamic_dim, hidden_dim, batch_first=True)
        self.head = GaussianHead(hidden_dim, dynamic_dim)

    def forward(self, z: Tensor) -> Gaussian:
        """The distribution `[B, T, D]` of each z_t given the trajectory `[B, T, D]` before it.

        The prefix is known, so one call of the LSTM on the trajectory shifted by a step does all of time.
        """
        before = functional.pad(z[:, :-1], (0, 0, 1, 0))
        return self.head(self.lstm(before)[0])  # type: ignore[no-any-return]

    def sample(self, n: int, length: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw n trajectories `[n, length, D]`, each step from the distribution given the steps before it."""
        z = self.head.weight.new_zeros(n, 1, self.lstm.input_size)
        state: tuple[Tensor, Tensor] | None = None
        steps = []
        for _ in range(length):
            hidden, state = self.lstm(z, state)
            z = self.head(hidden).rsample(generator)
            steps.append(z)
        return torch.cat(steps, dim=1)
