"""Motion and content views of a batch, usable without the rest of the package.

>>> import torch
>>> from seqviews.augment import MultiView, TemporalShuffle, VideoMotion, record_seeds
>>> clips = torch.randint(0, 256, (4, 8, 64, 64, 3), dtype=torch.uint8).permute(0, 1, 4, 2, 3)
>>> seeds = record_seeds(seed=0, epoch=0, indices=torch.arange(4))
>>> views = MultiView(motion=VideoMotion(hue=0.5), content=TemporalShuffle())(clips, seeds)
>>> views.anchor.shape, views.motion.shape, views.content.shape  # float32 in [0, 1]
(torch.Size([4, 8, 3, 64, 64]), torch.Size([4, 8, 3, 64, 64]), torch.Size([4, 8, 3, 64, 64]))
"""

if __name__ != "seqviews.augment":
    raise ImportError("import seqviews.augment, not augment: two names would make two copies of every class")

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqviews.augment.draws import Stream, record_seeds
    from seqviews.augment.stored_voices import StoredVoices
    from seqviews.augment.temporal import TemporalReverse, TemporalShuffle
    from seqviews.augment.video import VideoMotion
    from seqviews.augment.views import MultiView, Views
    from seqviews.augment.world import VoiceConverter

__all__ = [
    "MultiView",
    "StoredVoices",
    "Stream",
    "TemporalReverse",
    "TemporalShuffle",
    "VideoMotion",
    "Views",
    "VoiceConverter",
    "record_seeds",
]

_HOMES = {
    "MultiView": "views",
    "StoredVoices": "stored_voices",
    "Stream": "draws",
    "TemporalReverse": "temporal",
    "TemporalShuffle": "temporal",
    "VideoMotion": "video",
    "Views": "views",
    "VoiceConverter": "world",
    "record_seeds": "draws",
}


def __getattr__(name: str) -> Any:
    """Import on first use: converting voices, in each process of a preparation, needs neither torch nor Kornia."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
