"""FHVAE: a factorised hierarchical variational autoencoder of speech (Hsu, Zhang and Glass, NeurIPS 2017)."""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqviews.model.gaussian import Gaussian
from seqviews.model.layers.clips import FrameShape
from seqviews.model.layers.recurrent import GaussianHead
from seqviews.model.layers.segments import MelShape
from seqviews.model.layers.source_table import VARIANCE, SourceTable
from seqviews.model.protocol import Curve, Loss, Method, Posterior, Views
from seqviews.model.ranks import gather, own_rows

BETAS = (0.95, 0.999)
LEAST_LOGVAR = -6.0  # of a decoded mel; digital silence would otherwise have infinite density


class FHVAE(Method):
    """Factorised hierarchical VAE, for segments of speech whose sources (utterances) are known.

    s (the paper's z2) has a prior N(mu, I / 4) of its source, whose mean is a row of a trained table; z (the paper's
    z1) has the prior N(0, I). Minimises, in nats a segment,

        reconstruction + KL_z + KL_s - log N(mu; 0, I) / n + alpha discrimination,

    n the number of segments of the source. `reconstruction` is the negative log-likelihood of the mels, a Gaussian with
    a decoded variance; `kl_static` is KL[q(s given x) || N(mu, I / 4)]; `table_prior` is what is divided by n;
    `discrimination` is the cross-entropy of the source among those of the table, by
    `softmax_j(-||mean of s - mu_j||^2 / 0.5)`.

    The table holds the `rows` sources that were seen last (`layers.source_table`), for many sources are trained on some
    thousands at a time. For that, the stream's `lanes` and `window` have to hold their segments together. Sources of
    other splits have no row, so there is no validation loss; `encode` needs none.

    z is one vector a segment, repeated in every frame of `encode(x).dynamic`, where it takes the place of z_1..T; of
    these repetitions `Gaussian.rsample` draws independent noise. Doubtful: the learned variance is bounded from below
    here, and a row that passes to another source keeps the moments of the optimiser.

    Args:
        frame_shape: (n_mels,) of a segment.
        sources: Sources of the training split.
        rows: Sources that the table holds at most.
        alpha: Weight of the discrimination.
        static_dim: Size of s.
        dynamic_dim: Size of z.
        hidden_dim: Size of each LSTM's state.
        layers: Of each LSTM.

    Raises:
        ValueError: If the records are clips.

    Example:
        >>> model = FHVAE(frame_shape=(80,), sources=3, hidden_dim=16)
        >>> posterior = model.encode(torch.randn(4, 20, 80))
        >>> posterior.static.mean.shape, posterior.dynamic.mean.shape
        (torch.Size([4, 32]), torch.Size([4, 20, 32]))
    """

    needs = frozenset({"source"})
    curves: ClassVar[Mapping[str, Curve]] = {
        "reconstruction": Curve("negative log-likelihood of the mels"),
        "kl_static": Curve("KL of s from its source's prior"),
        "kl_dynamic": Curve("KL of z"),
        "table_prior": Curve("prior of the table, a segment's share"),
        "discrimination": Curve("cross-entropy of the source, from s"),
    }

    def __init__(
        self,
        *,
        frame_shape: FrameShape | MelShape,
        sources: int,
        rows: int = 5000,
        alpha: float = 10.0,
        static_dim: int = 32,
        dynamic_dim: int = 32,
        hidden_dim: int = 256,
        layers: int = 2,
    ) -> None:
        super().__init__()
        if len(frame_shape) != 1:
            raise ValueError(f"FHVAE is for segments of speech, not for clips with frames of {list(frame_shape)}")
        (mels,) = frame_shape
        self.frame_shape, self.alpha = tuple(frame_shape), alpha
        self.static_dim, self.dynamic_dim = static_dim, dynamic_dim
        self.static_lstm = nn.LSTM(mels, hidden_dim, layers, batch_first=True)
        self.static_head = GaussianHead(hidden_dim, static_dim)
        self.dynamic_lstm = nn.LSTM(mels + static_dim, hidden_dim, layers, batch_first=True)
        self.dynamic_head = GaussianHead(hidden_dim, dynamic_dim)
        self.decoder_lstm = nn.LSTM(dynamic_dim + static_dim, hidden_dim, layers, batch_first=True)
        self.decoder_head = GaussianHead(hidden_dim, mels)
        self.table = SourceTable(min(rows, sources), static_dim)

    def optimizer(self, player: str, learning_rate: float) -> torch.optim.Optimizer:
        """Adam with the paper's betas."""
        return torch.optim.Adam(self.parameters_of(player), lr=learning_rate, betas=BETAS, fused=True)

    def q_static(self, x: Tensor) -> Gaussian:
        """q(s given x) `[B, S]` of segments `[B, T, n_mels]`.

        Raises:
            ValueError: If the segments have another number of mels than the model's.
        """
        if tuple(x.shape[2:]) != self.frame_shape:
            raise ValueError(f"frames are {list(x.shape[2:])}, the model was built for {list(self.frame_shape)}")
        return self.static_head(self.static_lstm(x)[0][:, -1])  # type: ignore[no-any-return]

    def q_dynamic(self, x: Tensor, s: Tensor) -> Gaussian:
        """q(z given x, s) `[B, D]` of segments `[B, T, n_mels]` and s `[B, S]`."""
        both = torch.cat([x, s[:, None].expand(-1, x.shape[1], -1)], dim=2)
        return self.dynamic_head(self.dynamic_lstm(both)[0][:, -1])  # type: ignore[no-any-return]

    def p_mels(self, s: Tensor, z: Tensor) -> Gaussian:
        """p(x given z, s) `[B, T, n_mels]` of latents `[B, S]` and `[B, T, D]`."""
        both = torch.cat([z, s[:, None].expand(-1, z.shape[1], -1)], dim=2)
        mels: Gaussian = self.decoder_head(self.decoder_lstm(both)[0])
        return Gaussian(mels.mean, mels.logvar.clamp_min(LEAST_LOGVAR))

    def encode(self, x: Tensor) -> Posterior:
        """The posterior of segments `[B, T, n_mels]` of mean 0 and deviation 1; z given the mean of s, in every frame.

        Raises:
            ValueError: As `q_static`.
        """
        static = self.q_static(x)
        dynamic = self.q_dynamic(x, static.mean)
        shape = (-1, x.shape[1], -1)
        repeated = Gaussian(dynamic.mean[:, None].expand(shape), dynamic.logvar[:, None].expand(shape))
        return Posterior(static, repeated)

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        """The means of segments `[B, T, n_mels]` of latents `[B, S]` and `[B, T, D]`."""
        return self.p_mels(s, z).mean

    def sample_static(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws s `[n, static_dim]` of sources that are drawn from N(0, I), so from N(0, 1.25 I)."""
        like = self.decoder_head.weight.new_zeros(n, self.static_dim)
        return Gaussian(like, torch.full_like(like, math.log(1 + VARIANCE))).rsample(generator)

    def sample_dynamic(self, n: int, length: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws z from N(0, I), in every frame: `[n, length, dynamic_dim]`."""
        like = self.decoder_head.weight.new_zeros(n, self.dynamic_dim)
        return Gaussian.standard(like).rsample(generator)[:, None].expand(-1, length, -1)

    def loss(self, views: Views, player: str = "model", generator: torch.Generator | None = None) -> Loss:
        """The objective for a batch, whose labels have `source` and `source_records`.

        The generator, on the model's device, draws the samples of s and z.

        Raises:
            ValueError: If the labels are missing, the batch has more sources than the table has rows, or as `q_static`.
        """
        if not views.labels.keys() >= {"source", "source_records"}:
            raise ValueError("the loss needs the source of each record and its records, which the batch does not have")
        x = views.anchor
        static = self.q_static(x).to(x.dtype)
        s = static.rsample(generator)
        dynamic = self.q_dynamic(x, s).to(x.dtype)
        z = dynamic.rsample(generator)
        mels = self.p_mels(s, z[:, None].expand(-1, x.shape[1], -1)).to(x.dtype)
        rows = own_rows(self.table.rows_of(gather(views.labels["source"]), gather(static.mean)))
        with torch.autocast(x.device.type, enabled=False):
            means = self.table.means[rows]
            log_prior = Gaussian.standard(means).log_prob(means) / views.labels["source_records"]
            quarter = torch.full_like(means, math.log(VARIANCE))
            terms = {
                "reconstruction": -mels.log_prob(x).sum(1).mean(),
                "kl_static": static.kl(Gaussian(means, quarter)).mean(),
                "kl_dynamic": dynamic.kl(Gaussian.standard(z)).mean(),
                "table_prior": -log_prior.mean(),
                "discrimination": functional.cross_entropy(self.table.scores(static.mean), rows),
            }
            total = sum(value for name, value in terms.items() if name != "discrimination")
            return Loss(total + self.alpha * terms["discrimination"], terms)
