"""What each latent of a clip holds: linear probes of every factor, fitted on the training split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from seqviews.model.evaluate.clips.metrics import trajectory_error
from seqviews.model.evaluate.encode import Encoded

FITTED = 4096  # clips that the probes are fitted to
COMPONENTS = 256  # principal components that a probe gets
PROBED = {
    "s": "s",
    "z_mean": "z, mean over time",
    "z": "z, flattened",
    "s_sample": "s, sampled",
    "z_mean_sample": "z, mean over time, sampled",
    "z_sample": "z, flattened, sampled",
}
"""What is probed: latents, means of the posterior unless sampled."""


def probe_factors(train: Encoded, test: Encoded) -> dict[str, float]:
    """How well linear models read each factor from each latent.

    Logistic regression for a factor with classes, ridge regression for a trajectory, on standardised principal
    components.

    Args:
        train: Clips to fit to, with the values `static`, `dynamic`, `static_sample` and `dynamic_sample`.
        test: Clips to score, likewise.

    Returns:
        `probe/factor/latent/accuracy` from 0 to 1, or `probe/factor/latent/error` in the unit of the trajectory, of
        each latent in `PROBED`. Also `probe/factor/chance/METRIC`, of the most frequent class or the mean trajectory
        of `train`. A factor none of whose classes in `test` is in `train` is left out.
    """
    scores: dict[str, float] = {}
    for (name, fitted), (_, scored) in zip(_vectors(train), _vectors(test), strict=True):
        for factor, true in test.factors.items():
            known, read = train.factors[factor], _probe(fitted)
            if true.ndim == 1:
                if not torch.isin(true, known).any():
                    continue
                read.steps.append(("classes", LogisticRegression(C=0.1, tol=1e-3, max_iter=1000)))
                metric, predicted = "accuracy", read.fit(fitted, known.numpy()).predict(scored)
                chance = float((true == known.mode().values).double().mean())
                score = float((predicted == true.numpy()).mean())
            else:
                read.steps.append(("trajectory", Ridge(alpha=10.0)))
                flat = read.fit(fitted, known.flatten(1).numpy()).predict(scored)
                metric, score = "error", trajectory_error(torch.from_numpy(flat).view_as(true), true)
                chance = trajectory_error(known.mean(0).expand_as(true), true)
            scores |= {f"probe/{factor}/{name}/{metric}": score, f"probe/{factor}/chance/{metric}": chance}
    return scores


def _probe(vectors: NDArray[np.float64]) -> Pipeline:
    return make_pipeline(StandardScaler(), PCA(min(COMPONENTS, *vectors.shape), whiten=True, random_state=0))


def _vectors(clips: Encoded) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Each latent, by mean and by sample, float64 `[N, D]`: in float32, some logistic regressions do not converge."""
    for suffix in ("", "_sample"):
        s, z = clips.values[f"static{suffix}"], clips.values[f"dynamic{suffix}"]
        shapes: dict[str, Tensor] = {"s": s, "z_mean": z.mean(1), "z": z.flatten(1)}
        yield from ((f"{name}{suffix}", vector.double().numpy()) for name, vector in shapes.items())
