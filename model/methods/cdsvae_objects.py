"""C-DSVAE with networks for clips of moving objects: s holds their images, z their positions; not the paper's."""

import torch
from torch import Tensor, nn

from seqviews.model.gaussian import Gaussian
from seqviews.model.layers.clips import FrameShape
from seqviews.model.layers.objects import ObjectDecoder, all_permutations, match_objects, read_windows
from seqviews.model.layers.pooled import PooledStaticPosterior
from seqviews.model.layers.segments import MelShape
from seqviews.model.methods.cdsvae import CDSVAE, Ablation
from seqviews.model.padding import clear_padding

MAX_OBJECTS = 3  # all permutations of the windows of a frame are compared


class ObjectCDSVAE(CDSVAE):
    """C-DSVAE for clips in which a known number of objects moves over a black background.

    The objective and its ablations are those of `CDSVAE`; the networks are not those of the paper, which have to learn
    what is built in here:

    * z_t holds the positions of the objects, and each part of s the image of one (`ObjectDecoder`). Any s can be
      decoded with any z, and z has no room for appearance;
    * s is inferred from windows of the frames around the positions of z, pooled over frames, so that the encoder of
      appearance is the same for every position;
    * positions are assigned to objects by appearance over the whole clip (`match_objects`), not by the LSTM that finds
      them. So q(z_t) also depends on frames after t, through this assignment only.

    The sample of s that is decoded is that of the content view, where the method has one, with its KL.

    Args:
        frame_shape: (C, H, W) of a clip, as of `CDSVAE`, like the arguments that are not listed. There is no
            `dynamic_dim`: z_t has two numbers for each object.
        objects: Number of objects, 1 to 3.
        window: Height and width, in pixels, of the windows; the largest object must fit.

    Raises:
        ValueError: As `CDSVAE`; for segments of speech; if the number of objects is not 1 to 3, `static_dim` is not a
            multiple of it, or the window is larger than a frame.

    Example:
        >>> import torch
        >>> model = ObjectCDSVAE(frame_shape=(1, 32, 32), width=0.25, static_dim=64).eval()
        >>> posterior = model.encode(torch.rand(4, 15, 1, 32, 32))
        >>> model.decoder.positions(posterior.dynamic.mean).shape  # (column, row) of two objects in each frame
        torch.Size([4, 15, 2, 2])
    """

    decoder: ObjectDecoder

    def __init__(
        self,
        *,
        frame_shape: FrameShape | MelShape,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 1.0,
        ablation: Ablation = "none",
        width: float = 1.0,
        static_dim: int = 256,
        feature_dim: int = 128,
        hidden_dim: int = 256,
        temperature: float = 0.5,
        objects: int = 2,
        window: int = 16,
    ) -> None:
        if len(frame_shape) == 1:
            raise ValueError("cdsvae_objects has networks for clips only: use cdsvae or cdsvae_recordings for speech")
        if not 1 <= objects <= MAX_OBJECTS:
            raise ValueError(f"objects is {objects}: it must be from 1 to {MAX_OBJECTS}")
        if static_dim % objects:
            raise ValueError(f"static_dim is {static_dim}: it must be a multiple of the {objects} objects")
        if not 1 <= window <= frame_shape[-1]:
            raise ValueError(f"window is {window}: it must be from 1 to the {frame_shape[-1]} pixels of a frame")
        super().__init__(
            frame_shape=frame_shape,
            alpha=alpha,
            beta=beta,
            gamma=gamma,
            ablation=ablation,
            width=width,
            static_dim=static_dim,
            dynamic_dim=2 * objects,
            feature_dim=feature_dim,
            hidden_dim=hidden_dim,
            temperature=temperature,
        )
        self.objects, self.window, self.feature_dim = objects, window, feature_dim
        self.encoder = FeaturesAndPixels(self.encoder)
        self.decoder = ObjectDecoder(frame_shape, static_dim, objects, window, 2 * hidden_dim)
        self.orders: Tensor
        self.register_buffer("orders", all_permutations(objects), persistent=False)  # else copied each step
        self.static_posterior = PooledStaticPosterior(frame_shape[0] * window**2, hidden_dim, static_dim // objects)

    def q_dynamic(self, features: Tensor, lengths: Tensor | None = None) -> Gaussian:
        """q(z given x) `[B, T, D]` of features `[B, T, F]`; N(0, I) beyond the lengths."""
        found = super().q_dynamic(features[..., : self.feature_dim], lengths)
        with torch.no_grad():
            positions = self.decoder.positions(found.mean)
            order = match_objects(self._windows(features, positions), positions, self.orders)[..., None].expand_as(
                positions
            )
        mean, logvar = (x.view(order.shape).gather(2, order) for x in (found.mean, found.logvar))
        return Gaussian(mean.flatten(2), logvar.flatten(2))

    def q_static(self, features: Tensor, lengths: Tensor | None = None) -> Gaussian:
        """q(s given x) `[B, S]` of features `[B, T, F]`, from windows around the positions that the mean of z gives."""
        positions = self.decoder.positions(self.q_dynamic(features, lengths).mean)
        windows = self._windows(features, positions).transpose(1, 2)  # [B, K, T, C, G, G]
        of_objects = None if lengths is None else lengths.repeat_interleave(self.objects)
        static = self.static_posterior(windows.flatten(0, 1).flatten(2), of_objects)
        return Gaussian(static.mean.reshape(len(features), -1), static.logvar.reshape(len(features), -1))

    def _windows(self, features: Tensor, positions: Tensor) -> Tensor:
        frames = features[..., self.feature_dim :].reshape(*features.shape[:2], *self.frame_shape)
        return read_windows(frames, positions, self.window)

    def decode(self, s: Tensor, z: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Sequences `[B, T, *frame_shape]` of latents `[B, S]` and `[B, T, D]`; 0 beyond the lengths."""
        return clear_padding(self.decoder(s, z), lengths)

    def decode_frames(self, s: Tensor, z: Tensor) -> Tensor:
        """Frames `[N, *frame_shape]` of latents `[N, S]` and `[N, D]`."""
        return self.decode(s, z[:, None])[:, 0]

    def _decoded_static(self, static: Gaussian, content: Gaussian | None) -> Gaussian:
        return static if content is None else content


class FeaturesAndPixels(nn.Module):
    """Frames `[N, C, H, W]` to the features of an encoder, followed by the pixels: `[N, F + C H W]`."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, frames: Tensor) -> Tensor:
        """Both, in the wider of their dtypes."""
        return torch.cat([self.encoder(frames), frames.flatten(1)], dim=1)
