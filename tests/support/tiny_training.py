"""The configuration of a training that takes seconds, on the toy clips."""

from __future__ import annotations

from typing import Any

TINY: dict[str, Any] = {
    "batch_size": 12,
    "min_frames": 4,
    "max_clips": 360,
    "weights": {"beta": 2.0},
    "model": {
        "class_path": "seqviews.model.methods.cdsvae.CDSVAE",
        "init_args": {"frame_shape": [3, 16, 16], "width": 0.1, "static_dim": 8, "dynamic_dim": 4, "hidden_dim": 16},
    },
    "motion": {"class_path": "seqviews.augment.video.VideoMotion"},
    "content": {"class_path": "seqviews.augment.temporal.TemporalReverse"},
}
