"""MoCoGAN: clips generated from content noise and a motion trajectory (Tulyakov et al., CVPR 2018)."""

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import softplus

from seqviews.model.gaussian import Gaussian
from seqviews.model.layers.clips import ClipDecoder, FrameShape
from seqviews.model.layers.discriminators import ImageDiscriminator, VideoDiscriminator
from seqviews.model.layers.fixed import fixed
from seqviews.model.layers.segments import MelShape
from seqviews.model.protocol import Curve, Loss, Method, Views
from seqviews.model.ranks import own_rows, randn, ranks

EVERY = 2  # the video discriminator sees every second frame
BETAS, WEIGHT_DECAY = (0.5, 0.999), 1e-5


class Generator(nn.Module):
    """Content `[N, S]` and noise `[N, T + 1, D]` to a trajectory and frames.

    A GRU over the noise, whose first is its first state, gives the motion. A category, if there are any, is added to
    the motion of every frame as a one-hot vector.
    """

    def __init__(
        self, frame_shape: FrameShape, static_dim: int, motion_dim: int, categories: int, width: float
    ) -> None:
        super().__init__()
        self.categories = categories
        self.motion = nn.GRU(motion_dim, motion_dim, batch_first=True)
        self.frames = ClipDecoder(frame_shape, static_dim + motion_dim + categories, width)

    def forward(self, s: Tensor, z: Tensor) -> Tensor:
        """Clips `[N, T, C, H, W]` of content `[N, S]` and trajectories `[N, T, D + K]`."""
        latents = torch.cat([s[:, None].expand(-1, z.shape[1], -1), z], dim=2)
        frames: Tensor = self.frames(latents.flatten(0, 1))
        return frames.view(*z.shape[:2], *frames.shape[1:])

    def trajectories(self, noise: Tensor, category: Tensor) -> Tensor:
        """Trajectories `[N, T, D + K]` of noise `[N, T + 1, D]` and categories int64 `[N]`."""
        motion, _ = self.motion(noise[:, 1:], noise[:, :1].transpose(0, 1).contiguous())
        motion = motion.to(noise.dtype)
        if not self.categories:
            return motion  # type: ignore[no-any-return]
        one_hot = functional.one_hot(category, self.categories).to(noise.dtype)
        return torch.cat([motion, one_hot[:, None].expand(-1, motion.shape[1], -1)], dim=2)


class MoCoGAN(Method):
    """Motion and content decomposed GAN, for clips; it generates and has no encoder.

    Three players, in turn: a discriminator of images, which sees a random frame of each clip; one of videos, which sees
    every second frame; and the generator. Discriminators minimise the binary cross-entropy of real against generated,
    the generator that of being taken for real by both. With categories, the video discriminator also reads the category
    of generated clips, and it and the generator minimise the cross-entropy of what it reads.

    Not of the paper: `gradient_penalty / 2` times R1, the squared norm of the gradient that the mean of a
    discriminator's logits has by the real frames or the real clip (Mescheder et al., ICML 2018), is added to its loss,
    and discriminators have no batch norm. With batch norm and without the penalty, generators of sprites collapse to
    few motions (docs/methods.md).

    s is the content noise, z the trajectory (with the category): `sample_static`, `sample_dynamic` and `decode` hold
    one and draw the other. Doubtful: the paper speaks of the information that a clip has about its category, which is
    what is done here; its public code teaches the discriminator the categories of real clips, and so uses labels.
    Videos are not cut to 16 frames, and convolutions are padded in time, so that short clips pass.

    Args:
        frame_shape: (C, H, W) of a clip; H = W is 16, 32, 64 or 128.
        categories: Number of categories; 0 for none.
        static_dim: Size of the content noise.
        motion_dim: Size of the motion of a frame.
        width: Scales the channels of the convolutions.
        gradient_penalty: Weight of R1; 0 for none.

    Raises:
        ValueError: If the records are segments, or the frames not square or of none of these sides.

    Example:
        >>> model = MoCoGAN(frame_shape=(1, 16, 16), categories=4, width=0.125).eval()
        >>> model.sample(2, 8).shape
        torch.Size([2, 8, 1, 16, 16])
    """

    players = ("image_discriminator", "video_discriminator", "generator")
    curves: ClassVar[Mapping[str, Curve]] = {
        "image_loss": Curve("discriminator of images"),
        "video_loss": Curve("discriminator of videos"),
        "image_penalty": Curve("R1 of the discriminator of images", unit=""),
        "video_penalty": Curve("R1 of the discriminator of videos", unit=""),
        "category_read": Curve("category, read by the discriminator"),
        "image_fooled": Curve("generator, by the discriminator of images"),
        "video_fooled": Curve("generator, by the discriminator of videos"),
        "category_shown": Curve("category, shown by the generator"),
    }

    def __init__(
        self,
        *,
        frame_shape: FrameShape | MelShape,
        categories: int = 0,
        static_dim: int = 50,
        motion_dim: int = 10,
        width: float = 1.0,
        gradient_penalty: float = 10.0,
    ) -> None:
        super().__init__()
        if len(frame_shape) != 3:
            raise ValueError(f"MoCoGAN is for clips, not for segments with frames of {list(frame_shape)}")
        self.static_dim, self.motion_dim, self.categories = static_dim, motion_dim, categories
        self.gradient_penalty = gradient_penalty
        self.generator = Generator(frame_shape, static_dim, motion_dim, categories, width)
        self.image_discriminator = ImageDiscriminator(frame_shape, width)
        self.video_discriminator = VideoDiscriminator(frame_shape, categories, width)

    def optimizer(self, player: str, learning_rate: float) -> torch.optim.Optimizer:
        """Adam with the paper's betas and weight decay."""
        options = {"lr": learning_rate, "betas": BETAS, "weight_decay": WEIGHT_DECAY}
        return torch.optim.Adam(self.parameters_of(player), **options, fused=True)  # type: ignore[arg-type]

    def sample_static(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws content from N(0, I): `[n, static_dim]`."""
        return Gaussian.standard(self._like(n, self.static_dim)).rsample(generator)

    def sample_dynamic(self, n: int, length: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws trajectories `[n, length, motion_dim + categories]`, each of a random category."""
        return self._motion(n, length, generator)[0]

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        """Clips `[B, T, C, H, W]` of content `[B, S]` and trajectories `[B, T, D + K]`."""
        return self.generator(s, z)  # type: ignore[no-any-return]

    def sample(self, n: int, length: int, generator: torch.Generator | None = None) -> Tensor:
        """Clips `[n, length, C, H, W]` from noise."""
        return self.decode(self.sample_static(n, generator), self.sample_dynamic(n, length, generator))

    def read_category(self, clips: Tensor) -> Tensor:
        """Logits `[B, K]` of the category that the video discriminator reads from clips `[B, T, C, H, W]`."""
        return self.video_discriminator(clips[:, ::EVERY])[1]  # type: ignore[no-any-return]

    def loss(self, views: Views, player: str, generator: torch.Generator | None = None) -> Loss:
        """The objective of a player for a batch; the generator, on the model's device, draws the noise."""
        x = views.anchor
        s = self.sample_static(len(x), generator)
        z, category = self._motion(len(x), x.shape[1], generator)
        frame = self._below(x.shape[1], len(x), generator)
        clips = torch.arange(len(x), device=x.device)
        if player == "image_discriminator":
            with torch.no_grad():
                fake = fixed(self.generator, s, z.detach()[clips, frame][:, None])[:, 0]
            real, penalty = self._of_real(self.image_discriminator, x[clips, frame])
            terms = {"image_loss": _apart(real, self.image_discriminator(fake)), "image_penalty": penalty}
            return Loss(terms["image_loss"] + self.gradient_penalty / 2 * penalty, terms)
        if player == "video_discriminator":
            with torch.no_grad():
                fake = fixed(self.generator, s, z.detach()[:, ::EVERY])
            real, penalty = self._of_real(lambda clips: self.video_discriminator(clips)[0], x[:, ::EVERY])
            fooled, read = self.video_discriminator(fake)
            loss = self._with_category({"video_loss": _apart(real, fooled)}, "category_read", read, category)
            return Loss(loss.total + self.gradient_penalty / 2 * penalty, {**loss.terms, "video_penalty": penalty})
        made = self.generator(s, z)
        taken, read = fixed(self.video_discriminator, made[:, ::EVERY])
        of_images = softplus(-fixed(self.image_discriminator, made[clips, frame])).mean()
        terms = {"image_fooled": of_images, "video_fooled": softplus(-taken).mean()}
        return self._with_category(terms, "category_shown", read, category)

    def _of_real(self, discriminator: Callable[[Tensor], Tensor], real: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of real frames or clips, and R1; in float32, as gradients of gradients are too coarse in bfloat16."""
        with torch.autocast(real.device.type, enabled=False), torch.enable_grad():
            if not self.gradient_penalty:
                return discriminator(real), real.new_zeros(())
            real = real.detach().requires_grad_()
            logits = discriminator(real)
            (gradient,) = torch.autograd.grad(logits.flatten(1).mean(1).sum(), real, create_graph=True)
            return logits, gradient.square().flatten(1).sum(1).mean()

    def _with_category(self, terms: dict[str, Tensor], name: str, read: Tensor, category: Tensor) -> Loss:
        """The sum of the terms, and of the cross-entropy of the category if there are any."""
        if self.categories:
            terms[name] = functional.cross_entropy(read, category)
        return Loss(torch.stack(list(terms.values())).sum(), terms)

    def _motion(self, n: int, length: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Trajectories `[n, length, D + K]` and their categories, int64 `[n]`."""
        noise = randn(self._like(n, length + 1, self.motion_dim), generator)
        category = self._below(max(1, self.categories), n, generator)
        return self.generator.trajectories(noise, category), category

    def _below(self, limit: int, n: int, generator: torch.Generator | None) -> Tensor:
        """int64 `[n]` from 0 to limit - 1: this rank's rows of those of the global batch."""
        device = next(self.parameters()).device
        return own_rows(torch.randint(limit, (n * ranks()[1],), generator=generator, device=device))

    def _like(self, *shape: int) -> Tensor:
        return next(self.parameters()).new_empty(shape)


def _apart(real: Tensor, fake: Tensor) -> Tensor:
    """The cross-entropy of telling real from fake, of logits: the sum of that of each side."""
    return softplus(-real).mean() + softplus(fake).mean()
