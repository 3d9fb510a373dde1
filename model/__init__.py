"""Methods, their training and their evaluation."""

if __name__ != "seqviews.model":
    raise ImportError("import seqviews.model, not model: two names would make two copies of every class")

from seqviews.model.gaussian import Gaussian
from seqviews.model.methods.cdsvae import CDSVAE
from seqviews.model.methods.cdsvae_released import ReleasedCDSVAE, load_released
from seqviews.model.protocol import Curve, Loss, Method, Posterior, Views

__all__ = ["CDSVAE", "Curve", "Gaussian", "Loss", "Method", "Posterior", "ReleasedCDSVAE", "Views", "load_released"]
