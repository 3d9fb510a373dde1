"""Windows of frames that are read at places and written to places, and a decoder that writes."""

from itertools import permutations

import torch
from torch import Tensor, nn

from seqviews.model.layers.clips import FrameShape

ROUNDS = 2


def read_windows(frames: Tensor, places: Tensor, window: int) -> Tensor:
    """Windows `[..., K, C, G, G]` of square frames `[..., C, H, H]` around places, by bilinear interpolation.

    Args:
        frames: Any leading dimensions, the same as those of the places; 0 beyond their edges.
        places: `[..., K, 2]`, the (column, row) of each window's centre in pixels; (0, 0) is the centre of the first.
        window: G, in pixels.
    """
    columns, rows = _weights(places, window, frames.shape[-1])
    return rows.mT @ frames.unsqueeze(-4) @ columns


def write_windows(windows: Tensor, places: Tensor, side: int) -> Tensor:
    """Windows `[..., K, C, G, G]` at places `[..., K, 2]` of black frames: `[..., K, C, side, side]`.

    The transpose of `read_windows`, window by window.
    """
    columns, rows = _weights(places, windows.shape[-1], side)
    return rows @ windows @ columns.mT


def _weights(places: Tensor, window: int, side: int) -> tuple[Tensor, Tensor]:
    """What a pixel of a window takes from each column and each row of a frame: `[..., K, 1, side, G]` each."""
    offsets = torch.arange(window, device=places.device, dtype=places.dtype) - (window - 1) / 2
    pixels = torch.arange(side, device=places.device, dtype=places.dtype)
    distances = pixels[:, None] - (places[..., None] + offsets)[..., None, :]  # [..., K, 2, side, G]
    columns, rows = (1 - distances.abs()).clamp_min(0).unsqueeze(-4).unbind(-3)
    return columns, rows


def all_orders(count: int) -> Tensor:
    """Every order of K windows, int64 `[K!, K]`."""
    return torch.tensor(list(permutations(range(count))))


def same_things(windows: Tensor, places: Tensor, orders: Tensor) -> Tensor:
    """Which window of each frame shows which thing of the clip, by looks: int64 `[B, T, K]`, frame by frame an order.

    Windows of a frame come in any order. Those of the frame whose places are furthest apart are the first pictures of
    the things; each frame takes the order in which its windows are most like the pictures (least squares), and these
    become the means over frames of what was taken, `ROUNDS` times. The things are then ordered by their brightness.

    Args:
        windows: `[B, T, K, C, G, G]`.
        places: `[B, T, K, 2]`, in pixels.
        orders: `all_orders(K)`, on the same device.
    """
    windows = windows.flatten(3)
    count = places.shape[2]
    distances = (places[:, :, :, None] - places[:, :, None]).norm(dim=-1)
    apart = distances.masked_fill(torch.eye(count, dtype=torch.bool, device=places.device), torch.inf)
    first = apart.flatten(2).amin(2).argmax(1)
    pictures = windows[torch.arange(len(windows), device=places.device), first]  # [B, K, P]
    for _ in range(ROUNDS):
        alike = windows @ pictures[:, None].mT  # [B, T, window, picture]; squares sum to the same in every order
        scores = alike[:, :, orders, torch.arange(count, device=places.device)].sum(3)
        order = orders[scores.argmax(2)]
        pictures = windows.gather(2, order[..., None].expand_as(windows)).mean(1)
    return order.gather(2, pictures.sum(2).argsort(1)[:, None].expand_as(order))


class PlacingDecoder(nn.Module):
    """Latents s `[B, S]`, z `[B, T, D]` to clips `[B, T, C, H, H]` in [0, 1]: pictures of s at places of z.

    s is cut into K parts, each of which gives the picture of a thing, once a clip; z_t has D = 2 K numbers, the places
    of the things in frame t. Pictures are put over each other as on a screen, 1 - (1 - a)(1 - b), on black.

    Args:
        frame_shape: (C, H, H).
        static_dim: S, a multiple of K.
        things: K.
        window: Height and width of a thing's picture, in pixels.
        hidden_dim: Of the layer between a part of s and its picture.
    """

    def __init__(self, frame_shape: FrameShape, static_dim: int, things: int, window: int, hidden_dim: int) -> None:
        super().__init__()
        channels, _, self.side = frame_shape
        self.things, self.picture_shape = things, (channels, window, window)
        self.draw = nn.Sequential(
            nn.Linear(static_dim // things, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, channels * window**2)
        )
        across = torch.linspace(-1, 1, window)  # a blob at first, so that a place is the middle of what is drawn
        self.draw[-1].bias.data = (1 - 6 * (across**2 + across[:, None] ** 2)).flatten().repeat(channels)

    def places(self, z: Tensor) -> Tensor:
        """The (column, row) of each thing in pixels, `[..., K, 2]` of z `[..., 2 K]`; always in the frame."""
        centre = (self.side - 1) / 2
        return centre + centre * torch.tanh(z).reshape(*z.shape[:-1], self.things, 2)

    def pictures(self, s: Tensor) -> Tensor:
        """The things of s `[B, S]`: `[B, K, C, G, G]`."""
        drawn: Tensor = self.draw(s.reshape(len(s), self.things, -1))
        return drawn.view(len(s), self.things, *self.picture_shape).sigmoid()

    def forward(self, s: Tensor, z: Tensor) -> Tensor:
        """Clips of latents, without autocast: a place needs more digits than bfloat16 has."""
        with torch.autocast(z.device.type, enabled=False):
            layers = write_windows(self.pictures(s)[:, None], self.places(z), self.side)
            return 1 - (1 - layers).prod(2)
