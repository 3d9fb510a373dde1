"""C-DSVAE: networks, objective, training and evaluation."""

if __name__ != "seqviews.model":
    raise ImportError("import seqviews.model, not model: two names would make two copies of every class")

from seqviews.model.cdsvae import CDSVAE, Posterior
from seqviews.model.gaussian import Gaussian
from seqviews.model.objective import LossTerms, LossWeights

__all__ = ["CDSVAE", "Gaussian", "LossTerms", "LossWeights", "Posterior"]
