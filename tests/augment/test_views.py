"""MultiView: the seed of a record decides its views, whatever the batch."""

import pytest
import torch

from seqviews.augment import MultiView, TemporalReverse, TemporalShuffle, VideoMotion
from seqviews.augment.draws import Purpose, uniform
from seqviews.augment.views import to_unit


def clips(n: int, channels: int = 3) -> torch.Tensor:
    shape, generator = (n, 5, 20, 24, channels), torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).permute(0, 1, 4, 2, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_views_of_stored_clips(channels: int) -> None:
    x, seeds = clips(6, channels), torch.arange(6)
    motion, content = VideoMotion(), TemporalShuffle()
    views = MultiView(motion, content)(x, seeds)
    assert views.motion is not None
    assert views.order is not None
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

    def motion_and_order(rows: list[int], shift: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        views = view(x[rows], seeds[rows] + shift)
        assert views.motion is not None
        assert views.order is not None
        return views.motion, views.order

    motion, order = motion_and_order([*range(6)])
    for rows in ([4], [5, 1], [2, 3, 0, 4]):
        torch.testing.assert_close(motion_and_order(rows)[0], motion[rows], rtol=0, atol=1e-6)
        assert torch.equal(motion_and_order(rows)[1], order[rows])
    assert not torch.allclose(motion_and_order([*range(6)], shift=100)[0], motion, atol=0.01)


def test_a_padded_clip_has_the_views_that_it_has_alone() -> None:
    x, seeds, lengths = clips(3), torch.arange(40, 43), torch.tensor([2, 5, 3])
    view = MultiView(VideoMotion(), TemporalShuffle())
    views = view(x, seeds, lengths=lengths)
    assert views.lengths is lengths
    assert views.motion is not None
    for row, length in enumerate(lengths.tolist()):
        alone = view(x[row : row + 1, :length], seeds[row : row + 1])
        assert alone.motion is not None
        torch.testing.assert_close(views.motion[row, :length], alone.motion[0], rtol=0, atol=1e-6)
        assert torch.equal(views.content[row, :length], alone.content[0])


def test_motion_and_content_draw_apart() -> None:
    seeds = torch.arange(500)
    first = TemporalShuffle().draw(seeds, 8)[:, 0].double()
    for name, value in VideoMotion().draw(seeds).items():
        for column in value.double().view(500, -1).unbind(1):
            if column.std() > 0:
                assert abs(torch.corrcoef(torch.stack([first, column]))[0, 1]) < 0.2, name


def test_views_stay_float32_under_autocast_and_float_clips_are_not_copied() -> None:
    x, seeds = to_unit(clips(2)), torch.arange(2)
    view = MultiView(VideoMotion(), TemporalReverse())
    outside = view(x, seeds)
    assert outside.anchor is x
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = view(x, seeds)
    assert inside.motion is not None
    assert outside.motion is not None
    assert torch.equal(inside.motion, outside.motion)
    assert inside.motion.dtype == torch.float32


@pytest.mark.parametrize(("motion", "content"), [(None, None), (VideoMotion(), None), (None, TemporalReverse())])
def test_only_the_views_that_were_asked_for_are_computed(
    motion: VideoMotion | None, content: TemporalReverse | None
) -> None:
    views = MultiView(motion, content)(clips(2), torch.arange(2))
    assert (views.motion is None, views.order is None) == (motion is None, content is None)
    assert torch.equal(views.anchor, to_unit(clips(2)))
    assert views.labels == {}
    if content is None:
        with pytest.raises(ValueError, match="there is no content view"):
            _ = views.content


def test_an_augmented_anchor_is_what_the_views_are_made_from() -> None:
    x, seeds = clips(6), torch.arange(40, 46)
    augmentation, motion = VideoMotion(hue=0.2), VideoMotion(hue=0.2)
    views_of = MultiView(motion, TemporalShuffle(), anchor=augmentation)
    views = views_of(x, seeds)
    assert views.motion is not None
    assert not torch.allclose(views.anchor, to_unit(x), atol=0.01)
    assert torch.equal(views.motion, motion(views.anchor, motion.draw(seeds)))
    alone = views_of(x[3:], seeds[3:])
    torch.testing.assert_close(alone.anchor, views.anchor[3:], rtol=0, atol=1e-6)


def test_draws_of_the_anchor_are_independent_of_those_of_the_motion_view() -> None:
    class Dimmer(torch.nn.Module):
        def draw(self, seeds: torch.Tensor) -> torch.Tensor:
            self.factors = uniform(seeds, 1, Purpose.MOTION)
            return self.factors

        def forward(self, x: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
            return x * params.view(-1, 1, 1, 1, 1)

    motion, anchor = Dimmer(), Dimmer()
    MultiView(motion, anchor=anchor)(torch.ones(4000, 1, 1, 1, 1), torch.arange(4000))
    correlation = torch.corrcoef(torch.cat([motion.factors, anchor.factors], 1).T)[0, 1]
    assert abs(correlation) < 4 / 4000**0.5


def test_clips_are_not_augmented_in_evaluation_mode() -> None:
    x = clips(3)
    views = MultiView(anchor=VideoMotion()).eval()(x, torch.arange(3))
    assert torch.equal(views.anchor, to_unit(x))
