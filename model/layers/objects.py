"""Objects in frames: windows around their positions, their identity over a clip, and a decoder that draws them."""

from itertools import permutations

import torch
from torch import Tensor, nn

from seqviews.model.layers.clips import FrameShape

ITERATIONS = 2  # of the matching


def read_windows(frames: Tensor, positions: Tensor, window: int) -> Tensor:
    """Windows of square frames around positions, by bilinear interpolation; 0 beyond the edges of a frame.

    Args:
        frames: `[..., C, H, H]`, with the leading dimensions of the positions.
        positions: `[..., K, 2]`, the (column, row) of each window's centre in pixels; (0, 0) is the centre of the first
            pixel.
        window: G, height and width of a window in pixels.

    Returns:
        `[..., K, C, G, G]`.
    """
    columns, rows = _weights(positions, window, frames.shape[-1])
    return rows.mT @ frames.unsqueeze(-4) @ columns


def write_windows(windows: Tensor, positions: Tensor, side: int) -> Tensor:
    """Black frames, each with one window drawn at its position: the transpose of `read_windows`.

    Args:
        windows: `[..., K, C, G, G]`.
        positions: `[..., K, 2]`, as of `read_windows`.
        side: H, height and width of a frame in pixels.

    Returns:
        `[..., K, C, H, H]`.
    """
    columns, rows = _weights(positions, windows.shape[-1], side)
    return rows @ windows @ columns.mT


def _weights(positions: Tensor, window: int, side: int) -> tuple[Tensor, Tensor]:
    """The bilinear weights between the columns, and the rows, of a frame and a window: `[..., K, 1, side, G]` each."""
    offsets = torch.arange(window, device=positions.device, dtype=positions.dtype) - (window - 1) / 2
    pixels = torch.arange(side, device=positions.device, dtype=positions.dtype)
    distances = pixels[:, None] - (positions[..., None] + offsets)[..., None, :]  # [..., K, 2, side, G]
    columns, rows = (1 - distances.abs()).clamp_min(0).unsqueeze(-4).unbind(-3)
    return columns, rows


def all_permutations(count: int) -> Tensor:
    """All permutations of K indices, int64 `[K!, K]`.

    >>> all_permutations(2)
    tensor([[0, 1],
            [1, 0]])
    """
    return torch.tensor(list(permutations(range(count))))


def match_objects(windows: Tensor, positions: Tensor, orders: Tensor) -> Tensor:
    """Match the windows of each frame to the objects of the clip, by appearance.

    The windows of a frame may come in any order. The templates of the objects start as the windows of the frame in
    which the positions are furthest apart. Each frame takes the permutation with the least squared error to the
    templates, and these become the means over frames, `ITERATIONS` times. The objects are then sorted by brightness, so
    that their order does not depend on that of the frames.

    Args:
        windows: `[B, T, K, C, G, G]`.
        positions: `[B, T, K, 2]`, in pixels.
        orders: `all_permutations(K)`, on the same device.

    Returns:
        int64 `[B, T, K]`: the index of the window that shows object k, darkest object first.
    """
    windows = windows.flatten(3)
    count, device = positions.shape[2], positions.device
    distances = (positions[:, :, :, None] - positions[:, :, None]).norm(dim=-1)
    distances = distances.masked_fill(torch.eye(count, dtype=torch.bool, device=device), torch.inf)
    first = distances.flatten(2).amin(2).argmax(1)
    templates = windows[torch.arange(len(windows), device=device), first]  # [B, K, P]
    for _ in range(ITERATIONS):
        products = windows @ templates[:, None].mT  # [B, T, window, template]; the squares are the same in every order
        scores = products[:, :, orders, torch.arange(count, device=device)].sum(3)
        matched = orders[scores.argmax(2)]
        templates = windows.gather(2, matched[..., None].expand_as(windows)).mean(1)
    return matched.gather(2, templates.sum(2).argsort(1)[:, None].expand_as(matched))


class ObjectDecoder(nn.Module):
    """Static latents `[B, S]` and dynamic latents `[B, T, 2 K]` to clips `[B, T, C, H, H]` in [0, 1].

    s is cut into K parts, each decoded to the image of an object, once a clip. z_t holds the K positions of the objects
    in frame t, where their images are drawn on black; overlapping images a and b become 1 - (1 - a)(1 - b).

    Args:
        frame_shape: (C, H, H).
        static_dim: S, a multiple of K.
        objects: K.
        window: Height and width of an object's image, in pixels.
        hidden_dim: Size of the layer between a part of s and its image.
    """

    def __init__(self, frame_shape: FrameShape, static_dim: int, objects: int, window: int, hidden_dim: int) -> None:
        super().__init__()
        channels, _, self.side = frame_shape
        self.objects, self.image_shape = objects, (channels, window, window)
        self.draw = nn.Sequential(
            nn.Linear(static_dim // objects, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, channels * window**2)
        )
        across = torch.linspace(-1, 1, window)  # start from a centred blob, so that positions are centres of objects
        self.draw[-1].bias.data = (1 - 6 * (across**2 + across[:, None] ** 2)).flatten().repeat(channels)

    def positions(self, z: Tensor) -> Tensor:
        """The (column, row) of each object in pixels, `[..., K, 2]` of z `[..., 2 K]`; always inside the frame."""
        centre = (self.side - 1) / 2
        return centre + centre * torch.tanh(z).reshape(*z.shape[:-1], self.objects, 2)

    def images(self, s: Tensor) -> Tensor:
        """The images of the objects of s `[B, S]`: `[B, K, C, G, G]` in [0, 1]."""
        drawn: Tensor = self.draw(s.reshape(len(s), self.objects, -1))
        return drawn.view(len(s), self.objects, *self.image_shape).sigmoid()

    def forward(self, s: Tensor, z: Tensor) -> Tensor:
        """Clips of latents, without autocast: bfloat16 is too coarse for positions."""
        with torch.autocast(z.device.type, enabled=False):
            layers = write_windows(self.images(s)[:, None], self.positions(z), self.side)
            return 1 - (1 - layers).prod(2)
