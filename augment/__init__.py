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
    from seqviews.augment.draws import Purpose as Purpose
    from seqviews.augment.draws import record_seeds as record_seeds
    from seqviews.augment.stored_voices import StoredVoices as StoredVoices
    from seqviews.augment.temporal import TemporalReverse as TemporalReverse
    from seqviews.augment.temporal import TemporalShuffle as TemporalShuffle
    from seqviews.augment.video import VideoMotion as VideoMotion
    from seqviews.augment.views import MultiView as MultiView
    from seqviews.augment.views import Views as Views
    from seqviews.augment.world import VoiceConverter as VoiceConverter

_HOMES = {
    "draws": ("Purpose", "record_seeds"),
    "stored_voices": ("StoredVoices",),
    "temporal": ("TemporalReverse", "TemporalShuffle"),
    "video": ("VideoMotion",),
    "views": ("MultiView", "Views"),
    "world": ("VoiceConverter",),
}
__all__ = [name for names in _HOMES.values() for name in names]


def __getattr__(name: str) -> Any:
    """Import on first use: the processes of a preparation convert voices, which needs neither torch nor Kornia."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
