"""A decoder of clips in which s scales and shifts what z has drawn, in place of being concatenated with it."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from seqviews.model.layers.clips import FrameShape, stage_channels


class ModulatedDecoder(nn.Module):
    """Latents `[N, S + D]`, (s, z), to frames `[N, C, H, W]` in [0, 1]: the stages of `ClipDecoder`, modulated by s.

    z alone gives the first 4 x 4 maps. After each batch norm, channel c becomes (1 + scale_c) x_c + shift_c, both
    linear in s, before the ReLU (FiLM: Perez et al., AAAI 2018). So the product of both latents is in the network; in
    `ClipDecoder`, which adds a function of s to one of z, it has to be learned.
    """

    def __init__(self, frame_shape: FrameShape, static_dim: int, dynamic_dim: int, width: float = 1.0) -> None:
        super().__init__()
        stages = stage_channels(frame_shape, width)
        self.static_dim = static_dim
        self.project = nn.Linear(dynamic_dim, 16 * stages[-1], bias=False)
        inputs = [*stages[:0:-1], stages[1], stages[0]]
        layers: list[nn.Module] = [nn.ConvTranspose2d(*pair, 4, 2, 1, bias=False) for pair in pairwise(stages[:0:-1])]
        layers += [nn.Conv2d(stages[1], stages[1], 3, 1, 1, bias=False)]
        layers += [nn.ConvTranspose2d(stages[1], stages[0], 4, 2, 1, bias=False)]
        layers += [nn.ConvTranspose2d(stages[0], frame_shape[0], 4, 2, 1)]
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, affine=False) for channels in inputs)
        self.modulations = nn.ModuleList(nn.Linear(static_dim, 2 * channels) for channels in inputs)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, latents: Tensor) -> Tensor:
        """Frames of latents, in the dtype of the latents whatever the autocast."""
        s, z = latents[:, : self.static_dim], latents[:, self.static_dim :]
        maps = self.project(z).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)
        for layer, norm, modulation in zip(self.layers, self.norms, self.modulations, strict=True):
            scale, shift = modulation(s)[..., None, None].chunk(2, dim=1)
            maps = layer(torch.relu(torch.addcmul(shift, norm(maps), 1 + scale)))
        return torch.sigmoid(maps.to(latents.dtype))
