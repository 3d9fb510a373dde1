"""S3VAE: DSVAE with self-supervision: a triplet of s, and what moves predicted from z (Zhu et al., CVPR 2020)."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqviews.model.information import mws_information
from seqviews.model.layers.clips import FrameShape
from seqviews.model.layers.flow import DIRECTIONS, GRID, moving_cells
from seqviews.model.layers.segments import MelShape
from seqviews.model.methods.sequential_vae import SequentialVAE
from seqviews.model.protocol import Curve, Loss, Views
from seqviews.model.ranks import gather, own_rows

MARGIN, HIDDEN = 1.0, 128
CELLS = GRID * GRID


class S3VAE(SequentialVAE):
    """Self-supervised sequential VAE, for clips and for segments of speech.

    Minimises, a sequence,

        reconstruction + alpha (KL_s + KL_z) + triplet T + prediction P + gamma I(s; z).

    `triplet` T is `max(0, d(s(x), s(shuffled x)) - d(s(x), s(x')) + 1)`, d the Euclidean distance between means and x'
    the clip before x in the batch. P is what z_t has to predict of the motion from frame t - 1 to frame t: of clips
    `moving`, which cells of a 3 x 3 grid move (binary cross-entropy), plus `direction`, in which of eight directions
    (cross-entropy, of moving cells only), both by optical flow (`layers.flow`); of segments `loudness`, whether a frame
    is louder than the mean of the training split. Each is summed over a sequence, in nats. `mi_between` I(s; z) is an
    estimate by minibatch weighted sampling; at gamma 0 it is logged only.

    Doubtful: the paper weighs the terms by 1000, 100 and 1, its public code by 100, 0.1 and 0.01, and neither says over
    what its sums are averaged. The flow is a network's there; its threshold is not given. The paper compares z_t with
    distances between landmarks on faces; here faces have the cells of other clips.

    Args:
        frame_shape: (C, H, W) of a clip; H = W is 16, 32, 64 or 128. (n_mels,) of a segment.
        alpha: Weight of the two KL terms.
        triplet: Weight of the triplet.
        prediction: Weight of what is predicted.
        gamma: Weight of the information that the latents have about each other.
        width: Scales the channels of the convolutions, for segments the hidden layers.
        static_dim: Size of s.
        dynamic_dim: Size of z_t.
        feature_dim: Size of a frame's features.
        hidden_dim: Size of each LSTM's state.

    Raises:
        ValueError: As `SequentialVAE`.

    Example:
        >>> model = S3VAE(frame_shape=(1, 16, 16), width=0.125, static_dim=8)
        >>> model.encode(torch.rand(4, 8, 1, 16, 16)).static.mean.shape
        torch.Size([4, 8])
    """

    needs = frozenset({"content"})
    curves: ClassVar[Mapping[str, Curve]] = {
        **SequentialVAE.curves,
        "triplet": Curve("triplet of s", unit="distance"),
        "moving": Curve("which cells move, from z"),
        "direction": Curve("where they move to, from z"),
        "loudness": Curve("which frames are loud, from z"),
        "mi_between": Curve("I(s; z)", saturation=("static_off_diagonal", "dynamic_off_diagonal")),
        "static_off_diagonal": Curve("off-diagonal weight of s", unit=""),
        "dynamic_off_diagonal": Curve("off-diagonal weight of z", unit=""),
    }

    def __init__(
        self,
        *,
        frame_shape: FrameShape | MelShape,
        alpha: float = 1.0,
        triplet: float = 100.0,
        prediction: float = 1.0,
        gamma: float = 0.01,
        width: float = 1.0,
        static_dim: int = 256,
        dynamic_dim: int = 32,
        feature_dim: int = 128,
        hidden_dim: int = 256,
    ) -> None:
        super().__init__(
            frame_shape=frame_shape,
            width=width,
            static_dim=static_dim,
            dynamic_dim=dynamic_dim,
            feature_dim=feature_dim,
            hidden_dim=hidden_dim,
        )
        self.alpha, self.triplet, self.prediction, self.gamma = alpha, triplet, prediction, gamma
        predicted = 1 if len(frame_shape) == 1 else CELLS * (1 + DIRECTIONS)
        self.predictor = nn.Sequential(nn.Linear(dynamic_dim, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, predicted))

    def loss(self, views: Views, player: str = "model", generator: torch.Generator | None = None) -> Loss:
        """The objective for a batch; the generator, on the model's device, draws the samples of s and z.

        Raises:
            ValueError: If the frames have another shape than the model's, or the content view is missing.
        """
        batch = self.autoencode(views.anchor, generator)
        shuffled = self.content_features(views, batch.features)
        if shuffled is None:
            raise ValueError("the loss needs the content view, which the batch does not have")
        with torch.autocast(views.anchor.device.type, enabled=False):
            means = batch.static.mean
            terms = batch.elbo_terms()
            other = own_rows(gather(means).roll(1, 0))
            terms["triplet"] = triplet_loss(means, self.q_static(shuffled).mean, other)
            predict = predict_loudness if len(self.frame_shape) == 1 else predict_motion
            predicted = predict(self.predictor(batch.z), views.anchor)
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.gamma != 0):
                s, z = gather(batch.s), gather(batch.z)
                mws = mws_information(s, batch.static.gather(), z, batch.dynamic.gather())
            terms |= {**predicted, "mi_between": mws.between}
            terms |= {"static_off_diagonal": mws.static_off_diagonal, "dynamic_off_diagonal": mws.dynamic_off_diagonal}
            total = terms["reconstruction"] + self.alpha * (terms["kl_static"] + terms["kl_dynamic"])
            total = total + self.triplet * terms["triplet"] + self.prediction * sum(predicted.values())
            return Loss(total + self.gamma * terms["mi_between"] if self.gamma else total, terms)


def triplet_loss(anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """The mean of `max(0, d(anchor, positive) - d(anchor, negative) + 1)`, d Euclidean, of `[B, D]` each: a scalar.

    >>> triplet_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]]))
    tensor(4.)
    """
    near, far = (torch.linalg.vector_norm(anchor - other, dim=1) for other in (positive, negative))
    loss: Tensor = (near - far + MARGIN).clamp_min(0).mean()
    return loss


def predict_motion(logits: Tensor, clips: Tensor) -> dict[str, Tensor]:
    """How well logits `[B, T, 9 + 9 * 8]` tell which cells of clips moved to frame t, and where to; scalars.

    The first frame has no motion. In nats a clip: `moving`, of all cells, and `direction`, of those that move.
    """
    moves, direction = moving_cells(clips)
    of_cells, of_directions = logits[:, 1:, :CELLS], logits[:, 1:, CELLS:]
    moving = functional.binary_cross_entropy_with_logits(of_cells, moves.to(logits.dtype), reduction="sum")
    ignored = direction.where(moves, -100)
    towards = functional.cross_entropy(
        of_directions.reshape(-1, DIRECTIONS), ignored.flatten(), reduction="sum", ignore_index=-100
    )
    return {"moving": moving / len(clips), "direction": towards / len(clips)}


def predict_loudness(logits: Tensor, segments: Tensor) -> dict[str, Tensor]:
    """How well logits `[B, T, 1]` tell which frames of segments are loud: `loudness`, in nats a segment; a scalar.

    A frame is loud if the mean of its mels, whose means over the training split are 0, is above 0.
    """
    loud = (segments.mean(2) > 0).to(logits.dtype)
    loss = functional.binary_cross_entropy_with_logits(logits[..., 0], loud, reduction="sum")
    return {"loudness": loss / len(segments)}
