"""C-DSVAE with networks for things that move: s draws them, z places them. Ours, not the paper's."""

import torch
from torch import Tensor, nn

from seqviews.model.gaussian import Gaussian
from seqviews.model.layers.clips import FrameShape
from seqviews.model.layers.pooled import PooledStaticPosterior
from seqviews.model.layers.segments import MelShape
from seqviews.model.layers.windows import PlacingDecoder, all_orders, read_windows, same_things
from seqviews.model.methods.cdsvae import CDSVAE, Ablation
from seqviews.model.padding import clear_padding

MAX_THINGS = 3  # all orders of the windows of a frame are tried


class PlacingCDSVAE(CDSVAE):
    """C-DSVAE for clips in which a known number of things moves over black, with networks that know so.

    The objective and its ablations are those of `CDSVAE`. What is put into the networks that the paper's have to learn:

    * z_t is where each thing is, and a part of s what one looks like (`PlacingDecoder`). Any s fits any z, and neither
      can hold what the other is for;
    * s is read where z is: from windows of the frames around the places of the things, pooled over frames. A window
      shows a thing in its middle wherever it is, so that its looks are learned once, not for every place;
    * the network that finds the places does not follow a thing through a clip: which place of a frame is whose is
      decided by looks (`same_things`). So q(z_t) depends on frames after t, too, by this order alone.

    The sample of s that is decoded is of the content view, where the method has one, with its KL.

    Args:
        frame_shape: (C, H, W) of a clip, as of `CDSVAE`, like the arguments that are not listed; z_t has twice as many
            numbers as there are things.
        things: How many move, 1 to 3.
        window: Height and width in pixels that the largest of them fits in.

    Raises:
        ValueError: As `CDSVAE`, for segments of speech, other numbers of things, a `static_dim` that is no multiple of
            `things`, and a window that is larger than a frame.

    Example:
        >>> import torch
        >>> model = PlacingCDSVAE(frame_shape=(1, 32, 32), width=0.25, static_dim=64).eval()
        >>> posterior = model.encode(torch.rand(4, 15, 1, 32, 32))
        >>> model.decoder.places(posterior.dynamic.mean).shape  # (column, row) of two things in each frame
        torch.Size([4, 15, 2, 2])
    """

    decoder: PlacingDecoder

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
        things: int = 2,
        window: int = 16,
    ) -> None:
        if len(frame_shape) == 1:
            raise ValueError("cdsvae_placing has networks for clips only: use cdsvae or cdsvae_recordings for speech")
        if not 1 <= things <= MAX_THINGS:
            raise ValueError(f"{things} things: from 1 to {MAX_THINGS} are followed")
        if static_dim % things:
            raise ValueError(f"s of {static_dim} numbers cannot be cut into {things} equal parts: use a multiple")
        if not 1 <= window <= frame_shape[-1]:
            raise ValueError(f"windows of {window} pixels in frames of {frame_shape[-1]}: from 1 to the frame's side")
        super().__init__(
            frame_shape=frame_shape,
            alpha=alpha,
            beta=beta,
            gamma=gamma,
            ablation=ablation,
            width=width,
            static_dim=static_dim,
            dynamic_dim=2 * things,
            feature_dim=feature_dim,
            hidden_dim=hidden_dim,
            temperature=temperature,
        )
        self.things, self.window, self.feature_dim = things, window, feature_dim
        self.encoder = FeaturesAndPixels(self.encoder)
        self.decoder = PlacingDecoder(frame_shape, static_dim, things, window, 2 * hidden_dim)
        self.orders: Tensor
        self.register_buffer("orders", all_orders(things), persistent=False)  # not copied to the device in every step
        self.static_posterior = PooledStaticPosterior(frame_shape[0] * window**2, hidden_dim, static_dim // things)

    def q_dynamic(self, features: Tensor, lengths: Tensor | None = None) -> Gaussian:
        """q(z given x) `[B, T, D]` of features `[B, T, F]`; N(0, I) beyond the lengths."""
        found = super().q_dynamic(features[..., : self.feature_dim], lengths)
        with torch.no_grad():
            places = self.decoder.places(found.mean)
            order = same_things(self._windows(features, places), places, self.orders)[..., None].expand_as(places)
        mean, logvar = (x.view(order.shape).gather(2, order) for x in (found.mean, found.logvar))
        return Gaussian(mean.flatten(2), logvar.flatten(2))

    def q_static(self, features: Tensor, lengths: Tensor | None = None) -> Gaussian:
        """q(s given x) `[B, S]` of features `[B, T, F]`, of the windows at the places that the mean of z says."""
        places = self.decoder.places(self.q_dynamic(features, lengths).mean)
        windows = self._windows(features, places).transpose(1, 2)  # [B, K, T, C, G, G]
        of_things = None if lengths is None else lengths.repeat_interleave(self.things)
        static = self.static_posterior(windows.flatten(0, 1).flatten(2), of_things)
        return Gaussian(static.mean.reshape(len(features), -1), static.logvar.reshape(len(features), -1))

    def _windows(self, features: Tensor, places: Tensor) -> Tensor:
        frames = features[..., self.feature_dim :].reshape(*features.shape[:2], *self.frame_shape)
        return read_windows(frames, places, self.window)

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
