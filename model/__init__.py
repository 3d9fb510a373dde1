"""C-DSVAE: networks, objective, training and evaluation."""

if __name__ != "seqviews.model":
    raise ImportError("import seqviews.model, not model: two names would make two copies of every class")

from seqviews.model.gaussian import Gaussian
from seqviews.model.methods.cdsvae import CDSVAE, load_released
from seqviews.model.methods.objective import LossTerms, LossWeights
from seqviews.model.protocol import Posterior, SequenceModel, Views

__all__ = [
    "CDSVAE",
    "Gaussian",
    "LossTerms",
    "LossWeights",
    "Posterior",
    "SequenceModel",
    "Views",
    "load_released",
]
