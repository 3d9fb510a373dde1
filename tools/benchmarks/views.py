"""The motion view of clips, ours and its peers', and their rates."""

import statistics
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import kornia.augmentation as K
import torch

from seqviews.augment.draws import record_seeds
from seqviews.augment.video import VideoMotion

SHAPES = {64: (64, 8), 112: (16, 16), 224: (8, 16)}
"""Clips and frames by the height and width of a frame."""
PEERS = {"kornia": ["kornia"], "torchvision": ["torchvision", "torchvision_uint8"]}
MISSING = "not installed: seqviews does not depend on it"

Measured = dict[str, float]


def bench_views(size: int, rounds: int) -> dict[str, Any]:
    """Measure crop, colour and blur, draws included, each side in turn; the results are medians.

    Args:
        size: Height and width of the frames, one of `SHAPES`.
        rounds: Turns of each side.

    Returns:
        `clips`, the shape of the batch. `sides` has by name `clips_per_second` and `processor_us_per_clip`, user and
        system time of the process in microseconds. `kornia` and `torchvision` name their side with the least processor
        time, and have our clips/s and our processor time relative to it; a missing torchvision is reported in words.
    """
    batch, frames = SHAPES[size]
    sides = view_sides((batch, frames, size))
    for side in sides.values():
        side()
    turns = [{name: _measure(side, batch) for name, side in sides.items()} for _ in range(rounds)]
    measured = {
        name: {key: round(statistics.median(turn[name][key] for turn in turns), 1) for key in turns[0][name]}
        for name in sides
    }
    return {"clips": [batch, frames, 3, size, size], "sides": measured} | compare(measured)


def compare(measured: Mapping[str, Measured]) -> dict[str, Any]:
    """Ours against the fastest side of each peer.

    Example:
        >>> rates = {"ours": 9.0, "kornia": 3.0}
        >>> rows = {name: {"clips_per_second": x, "processor_us_per_clip": 1 / x} for name, x in rates.items()}
        >>> compare(rows)["kornia"]
        {'side': 'kornia', 'ratio': 3.0, 'processor_ratio': 0.33}
        >>> compare(rows)["torchvision"]
        'not installed: seqviews does not depend on it'
    """
    ours, result = measured["ours"], dict[str, Any]()
    for peer, names in PEERS.items():
        found = [name for name in names if name in measured]
        if not found:
            result[peer] = MISSING
            continue
        best = min(found, key=lambda name: measured[name]["processor_us_per_clip"])
        ratios = {key: round(ours[key] / measured[best][key], 2) for key in ours}
        rate, processor = ratios["clips_per_second"], ratios["processor_us_per_clip"]
        result[peer] = {"side": best, "ratio": rate, "processor_ratio": processor}
    return result


def _measure(view: Callable[[], Any], clips: int) -> Measured:
    """The second of two calls: what the other side left behind is not measured."""
    view()
    started, used = time.perf_counter(), time.process_time()
    view()
    wall, used = time.perf_counter() - started, time.process_time() - used
    return {"clips_per_second": clips / wall, "processor_us_per_clip": 1e6 * used / clips}


def view_sides(
    shape: tuple[int, int, int], device: str = "cpu", dtype: torch.dtype = torch.float32
) -> dict[str, Callable[[], Any]]:
    """Crop, colour and blur of random clips, draws included, each side with its best settings.

    Args:
        shape: Clips, frames, and height and width.
        device: Where the clips are.
        dtype: Of the clips.

    Returns:
        `ours`, `kornia`, and `torchvision` and `torchvision_uint8` if it is installed, which is called clip by clip:
        its draws are for a batch. The last takes and returns bytes; no conversion is counted.
    """
    batch, frames, size = shape
    motion = VideoMotion()
    peer = K.VideoSequential(
        K.RandomResizedCrop((size, size), scale=(0.8, 1.0), ratio=(0.9, 1.1)),
        K.ColorJiggle(0.4, 0.4, 0.4, 0.5, p=1.0),
        K.RandomGaussianBlur((7, 7), (0.1, 1.0), p=1.0),
        data_format="BTCHW",
        same_on_frame=True,
    )
    x = torch.rand(batch, frames, 3, size, size, device=device, dtype=dtype)
    channels_last = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    seeds = record_seeds(0, 0, torch.arange(batch))
    sides = {"ours": lambda: motion(channels_last, motion.draw(seeds)), "kornia": lambda: peer(x)}
    if find_spec("torchvision"):  # not a dependency: it replaces torch
        from torchvision.transforms import v2

        view = v2.Compose(
            [
                v2.RandomResizedCrop(size, (0.8, 1.0), (0.9, 1.1)),
                v2.ColorJitter(0.4, 0.4, 0.4, 0.5),
                v2.GaussianBlur(7, (0.1, 1.0)),
            ]
        )
        pixels = (x * 255).to(torch.uint8)
        sides["torchvision"] = lambda: [view(clip) for clip in x]
        sides["torchvision_uint8"] = lambda: [view(clip) for clip in pixels]
    return {name: torch.no_grad()(side) for name, side in sides.items()}
