"""MultiView: one seed a record gives its two views, whatever the batch."""

import subprocess
import sys

import pytest
import torch

from seqviews.augment import MultiView, TemporalReverse, TemporalShuffle, VideoMotion
from seqviews.augment.views import to_unit


def clips(n: int, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 5, 20, 24, channels), dtype=torch.uint8, generator=generator).permute(
        0, 1, 4, 2, 3
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_views_of_stored_clips(channels: int) -> None:
    x, seeds = clips(6, channels), torch.arange(6)
    motion, content = VideoMotion(), TemporalShuffle()
    views = MultiView(motion, content)(x, seeds)
    anchor = x.double() / 255
    torch.testing.assert_close(views.anchor.double(), anchor, rtol=0, atol=1e-7)
    assert torch.equal(views.motion, motion(views.anchor, motion.draw(seeds)))
    assert torch.equal(views.order, content.draw(seeds, 5))
    for b in range(6):
        assert torch.equal(views.content[b], views.anchor[b][views.order[b]])
    assert views.anchor.dtype == views.motion.dtype == views.content.dtype == torch.float32
    for view in (views.anchor, views.motion, views.content):
        assert view.permute(0, 1, 3, 4, 2).is_contiguous()
        assert 0 <= view.min() < view.max() <= 1


def test_same_seeds_same_views_in_any_batch() -> None:
    x, seeds = clips(6), torch.arange(40, 46)
    view = MultiView(VideoMotion(p=0.7), TemporalShuffle())
    whole = view(x, seeds)
    for rows in ([4], [5, 1], [2, 3, 0, 4]):
        part = view(x[rows], seeds[rows])
        torch.testing.assert_close(part.motion, whole.motion[rows], rtol=0, atol=1e-6)
        assert torch.equal(part.order, whole.order[rows])
    assert not torch.allclose(view(x, seeds + 100).motion, whole.motion, atol=0.01)


def test_motion_and_content_draw_apart() -> None:
    seeds = torch.arange(500)
    first = TemporalShuffle().draw(seeds, 8)[:, 0].double()
    for name, value in VideoMotion().draw(seeds).items():
        for column in value.double().view(500, -1).unbind(1):
            if column.std() > 0:
                assert abs(torch.corrcoef(torch.stack([first, column]))[0, 1]) < 0.2, name


def test_float_clips_are_not_copied() -> None:
    x = to_unit(clips(2))
    assert MultiView(VideoMotion(), TemporalReverse())(x, torch.arange(2)).anchor is x


def test_views_stay_float32_under_autocast() -> None:
    x, seeds = clips(2), torch.arange(2)
    view = MultiView(VideoMotion(), TemporalReverse())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = view(x, seeds)
    assert torch.equal(inside.motion, view(x, seeds).motion)
    assert inside.motion.dtype == torch.float32


def test_importing_augment_loads_torch_and_kornia_only() -> None:
    script = (
        "import sys\n"
        "import kornia.augmentation\n"
        "before = set(sys.modules)\n"
        "from seqviews.augment import *\n"
        "print(*sorted({m for m in set(sys.modules) - before if m.partition('.')[0] != 'seqviews'}))\n"
        "print(*sorted(m for m in sys.modules if m.startswith('seqviews.')))\n"
        "print(*sorted({m.partition('.')[0] for m in sys.modules}))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    added, ours, loaded = (line.split() for line in run.stdout.splitlines())
    outside = {m.partition(".")[0] for m in added} - set(sys.stdlib_module_names)
    assert outside <= {"torch", "kornia", "numpy"}
    assert all(m.startswith("seqviews.augment") for m in ours)
    heavy = {"lightning", "imagecodecs", "librosa", "sklearn", "scipy", "matplotlib", "webdataset", "jsonargparse"}
    assert not heavy & set(loaded)
