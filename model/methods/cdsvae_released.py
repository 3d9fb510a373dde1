"""C-DSVAE in the layout of the authors' public code: the same structure and the same names of the weights."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqviews.model.gaussian import Gaussian
from seqviews.model.layers.clips import FrameShape, scaled
from seqviews.model.layers.segments import MelShape
from seqviews.model.methods.cdsvae import CDSVAE
from seqviews.model.padding import recur

State = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]  # (hidden, cell) of the prior's layers, `[B, hidden_dim]`


class ConvBlock(nn.Module):
    """A convolution that halves or doubles the side of its maps, batch norm and LeakyReLU(0.2)."""

    def __init__(self, convolution: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        norm = nn.BatchNorm2d(convolution.out_channels)
        self.main = nn.Sequential(convolution, norm, nn.LeakyReLU(0.2, inplace=True))

    def forward(self, maps: Tensor) -> Tensor:
        """`[N, in, H, W]` to `[N, out, H / 2, W / 2]` or `[N, out, 2 H, 2 W]`."""
        return self.main(maps)  # type: ignore[no-any-return]


class ReleasedEncoder(nn.Module):
    """Frames `[N, C, 64, 64]` in [0, 1] to features `[N, feature_dim]` in (-1, 1)."""

    def __init__(self, channels: int, feature_dim: int, width: float) -> None:
        super().__init__()
        a, b, c, d = (scaled(wide, width) for wide in (64, 128, 256, 512))
        self.c1 = ConvBlock(nn.Conv2d(channels, a, 4, 2, 1))
        self.c2 = ConvBlock(nn.Conv2d(a, b, 4, 2, 1))
        self.c3 = ConvBlock(nn.Conv2d(b, c, 4, 2, 1))
        self.c4 = ConvBlock(nn.Conv2d(c, d, 4, 2, 1))
        self.c5 = nn.Sequential(nn.Conv2d(d, feature_dim, 4, 1, 0), nn.BatchNorm2d(feature_dim), nn.Tanh())
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, frames: Tensor) -> Tensor:
        """Features of frames; frames stored channels last are not copied."""
        maps = frames.contiguous(memory_format=torch.channels_last)
        for block in (self.c1, self.c2, self.c3, self.c4):
            maps = block(maps)
        covering = cast(nn.Conv2d, self.c5[0])
        features = functional.linear(_pixels_first(maps), _pixels_first(covering.weight), covering.bias)
        return self.c5[1:](features[:, :, None, None]).flatten(1)  # type: ignore[no-any-return]


class ReleasedDecoder(nn.Module):
    """Latents `[N, latent_dim]` to frames `[N, C, 64, 64]` in [0, 1]."""

    def __init__(self, channels: int, latent_dim: int, width: float) -> None:
        super().__init__()
        a, b, c, d = (scaled(wide, width) for wide in (512, 256, 128, 64))
        first = nn.ConvTranspose2d(latent_dim, a, 4, 1, 0)
        self.upc1 = nn.Sequential(first, nn.BatchNorm2d(a), nn.LeakyReLU(0.2, inplace=True))
        self.upc2 = ConvBlock(nn.ConvTranspose2d(a, b, 4, 2, 1))
        self.upc3 = ConvBlock(nn.ConvTranspose2d(b, c, 4, 2, 1))
        self.upc4 = ConvBlock(nn.ConvTranspose2d(c, d, 4, 2, 1))
        self.upc5 = nn.Sequential(nn.ConvTranspose2d(d, channels, 4, 2, 1), nn.Sigmoid())
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, latents: Tensor) -> Tensor:
        """Frames of latents, in the dtype of the latents whatever the autocast."""
        opening = cast(nn.ConvTranspose2d, self.upc1[0])
        assert opening.bias is not None
        pixels = (latents @ _pixels_first(opening.weight)).view(len(latents), 4, 4, -1) + opening.bias
        maps = self.upc1[1:](pixels.permute(0, 3, 1, 2))
        for block in (self.upc2, self.upc3, self.upc4):
            maps = block(maps)
        last, sigmoid = self.upc5
        frames: Tensor = sigmoid(last(maps).to(latents.dtype))
        return frames


def _pixels_first(maps: Tensor) -> Tensor:
    """`[N, C, 4, 4]` as `[N, 16 C]`, without a copy if stored channels last: what covers all pixels is a product."""
    return maps.permute(0, 2, 3, 1).flatten(1)


class LeakyLinear(nn.Module):
    """A linear layer and LeakyReLU(0.2): `[B, in]` to `[B, out]`."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Linear(in_features, out_features), nn.LeakyReLU(0.2))

    def forward(self, hidden: Tensor) -> Tensor:
        """A statistic of s; negative ones are a fifth of what the layer says."""
        return self.model(hidden)  # type: ignore[no-any-return]


class ReleasedCDSVAE(CDSVAE):
    """C-DSVAE in the layout of the authors' public code, for clips of 64 x 64; weights have the names of theirs.

    One bi-LSTM over the features serves both posteriors, so q(z_t) sees the whole sequence, through a tanh RNN. The
    prior has two LSTM cells. Mean and log-variance of s pass a LeakyReLU. Arguments as those of `CDSVAE`.

    Raises:
        ValueError: If the frames are not 64 x 64 or the width is not positive.
    """

    def _build(self, frame_shape: FrameShape | MelShape, width: float, feature_dim: int, hidden_dim: int) -> None:
        channels, *size = frame_shape
        if size != [64, 64] or width <= 0:
            raise ValueError(f"the released layout has frames of 64 x 64 and a positive width, not {size} and {width}")
        s, z = self.static_dim, self.dynamic_dim
        self.encoder = ReleasedEncoder(channels, feature_dim, width)
        self.decoder = ReleasedDecoder(channels, z + s, width)
        self.z_prior_lstm_ly1 = nn.LSTMCell(z, hidden_dim)
        self.z_prior_lstm_ly2 = nn.LSTMCell(hidden_dim, hidden_dim)
        self.z_prior_mean = nn.Linear(hidden_dim, z)
        self.z_prior_logvar = nn.Linear(hidden_dim, z)
        self.z_lstm = nn.LSTM(feature_dim, hidden_dim, batch_first=True, bidirectional=True)
        self.f_mean = LeakyLinear(2 * hidden_dim, s)
        self.f_logvar = LeakyLinear(2 * hidden_dim, s)
        self.z_rnn = nn.RNN(2 * hidden_dim, hidden_dim, batch_first=True)
        self.z_mean = nn.Linear(hidden_dim, z)
        self.z_logvar = nn.Linear(hidden_dim, z)

    def decode_frames(self, s: Tensor, z: Tensor) -> Tensor:
        """Frames `[N, C, 64, 64]` of latents `[N, S]` and `[N, D]`, which the decoder takes as (z, s)."""
        return self.decoder(torch.cat([z, s], dim=-1))  # type: ignore[no-any-return]

    def q_static(self, features: Tensor, lengths: Tensor | None = None) -> Gaussian:
        """q(s given x) `[B, S]` of features `[B, T, F]`, from the bi-LSTM's two last states."""
        _, last = recur(self.z_lstm, features, lengths)
        states = torch.cat(tuple(last), dim=-1)
        return Gaussian(self.f_mean(states), self.f_logvar(states))

    def q_dynamic(self, features: Tensor, lengths: Tensor | None = None) -> Gaussian:
        """q(z_t given x) `[B, T, D]` of features `[B, T, F]`; N(0, I) beyond the lengths."""
        hidden, _ = self.z_rnn(recur(self.z_lstm, features, lengths)[0])
        return Gaussian(self.z_mean(hidden), self.z_logvar(hidden)).clear_padding(lengths)

    def p_dynamic(self, z: Tensor) -> Gaussian:
        """p(z_t given z_<t) `[B, T, D]` for each step of a trajectory `[B, T, D]`, z_0 being zero."""
        before = functional.pad(z[:, :-1], (0, 0, 1, 0))
        state, hidden = self._start(before[:, 0]), []
        for step in before.unbind(1):
            state = self._after(step, state)
            hidden.append(state[1][0])
        return self._prior_of(torch.stack(hidden, dim=1))

    def sample_dynamic(self, n: int, length: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws n trajectories `[n, length, D]`, each step from the prior given the steps before it."""
        z = self.z_prior_mean.weight.new_zeros(n, self.dynamic_dim)
        state, steps = self._start(z), []
        for _ in range(length):
            state = self._after(z, state)
            z = self._prior_of(state[1][0]).rsample(generator)
            steps.append(z)
        return torch.stack(steps, dim=1)

    def _start(self, z: Tensor) -> State:
        zeros = z.new_zeros(len(z), self.z_prior_lstm_ly1.hidden_size)
        return (zeros, zeros), (zeros, zeros)

    def _after(self, z: Tensor, state: State) -> State:
        """The state of the prior after another step `[B, D]`."""
        first = self.z_prior_lstm_ly1(z, state[0])
        return first, self.z_prior_lstm_ly2(first[0], state[1])

    def _prior_of(self, hidden: Tensor) -> Gaussian:
        return Gaussian(self.z_prior_mean(hidden), self.z_prior_logvar(hidden))


def load_released(path: Path) -> ReleasedCDSVAE:
    """The model of a checkpoint `{"model": state_dict}` of the authors' public code, in evaluation mode, on the CPU.

    Raises:
        ValueError: If it holds anything but tensors and plain values, or other weights than those of that layout.
        OSError: If it cannot be read.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path} is not a checkpoint of weights alone: {reason}") from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model"), dict):
        raise ValueError(f'{path} is not a checkpoint of the released code: it holds no "model"')
    try:
        model = ReleasedCDSVAE(**sizes_of(checkpoint["model"]))
        model.load_state_dict(checkpoint["model"])
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is not a checkpoint of the released code: {error}") from error
    return model.eval()


def sizes_of(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `ReleasedCDSVAE` for which these weights were made, read off their shapes.

    Raises:
        ValueError: If they are not in the layout of the authors' public code.
    """
    names = ("encoder.c1.main.0.weight", "encoder.c5.0.weight", "f_mean.model.0.weight", "z_mean.weight")
    missing = [name for name in names if name not in weights]
    if missing:
        raise ValueError(f"these are not weights in the released layout: {missing[0]} is missing")
    first, features, static, dynamic = (weights[name].shape for name in names)
    sizes = {"static_dim": static[0], "dynamic_dim": dynamic[0], "feature_dim": features[0], "hidden_dim": dynamic[1]}
    return {"frame_shape": (first[1], 64, 64), "width": first[0] / 64, **sizes}
