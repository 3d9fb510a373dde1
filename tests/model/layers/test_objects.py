"""Windows against `grid_sample` and their own transpose, and the decoder against a loop that pastes images."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import grid_sample
from torch.testing import assert_close

from seqviews.model.layers.objects import ObjectDecoder, all_permutations, match_objects, read_windows, write_windows

SIDE, WINDOW = 20, 6


def sampled(frame: Tensor, position: Tensor, window: int) -> Tensor:
    """A window `[C, G, G]` of a frame `[C, H, H]` by torch."""
    offsets = torch.arange(window, dtype=frame.dtype) - (window - 1) / 2
    rows, columns = torch.meshgrid(position[1] + offsets, position[0] + offsets, indexing="ij")
    grid = torch.stack([columns, rows], -1) / (frame.shape[-1] - 1) * 2 - 1
    return grid_sample(frame[None], grid[None], align_corners=True)[0]


def test_a_window_is_that_of_grid_sample_and_black_beyond_the_frame() -> None:
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(4, 3, SIDE, SIDE, dtype=torch.float64, generator=generator)
    positions = torch.rand(4, 2, 2, dtype=torch.float64, generator=generator) * (SIDE + 8) - 4
    windows = read_windows(frames, positions, WINDOW)
    for frame in range(4):
        for number in range(2):
            expected = sampled(frames[frame], positions[frame, number], WINDOW)
            assert_close(windows[frame, number], expected, rtol=1e-12, atol=1e-12)


def test_writing_is_the_transpose_of_reading() -> None:
    generator = torch.Generator().manual_seed(0)
    windows = torch.rand(5, 2, 3, WINDOW, WINDOW, dtype=torch.float64, generator=generator)
    positions = torch.rand(5, 2, 2, dtype=torch.float64, generator=generator) * (SIDE + 8) - 4
    frames = torch.rand(5, 3, SIDE, SIDE, dtype=torch.float64, generator=generator)
    read = (read_windows(frames, positions, WINDOW) * windows).sum((2, 3, 4))
    written = (write_windows(windows, positions, SIDE) * frames[:, None]).sum((2, 3, 4))
    assert_close(written, read)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_windows_are_matched_over_a_clip_and_sorted_by_brightness(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    objects = torch.rand(4, count, 1, WINDOW, WINDOW, generator=generator)
    noise = 0.3 * torch.rand(4, 9, count, 1, WINDOW, WINDOW, generator=generator)
    shown = torch.rand(4, 9, count, generator=generator).argsort(2)  # window j of a frame shows object shown[j]
    positions = torch.rand(4, 9, count, 2, generator=generator) * SIDE
    windows = torch.stack([objects[clip][shown[clip]] for clip in range(4)]) + noise
    order = match_objects(windows, positions, all_permutations(count))
    brightness = objects.flatten(2).sum(2)
    for clip in range(4):
        darkest_first = brightness[clip].argsort().tolist()
        for frame in range(9):
            found = [int(shown[clip, frame, window]) for window in order[clip, frame]]
            assert found == darkest_first


def test_a_clip_has_the_images_of_s_at_the_positions_of_z() -> None:
    torch.manual_seed(0)
    decoder = ObjectDecoder((1, SIDE, SIDE), 8, objects=2, window=WINDOW, hidden_dim=5).double()
    corners = torch.tensor([[[0, 3], [11, 14]], [[5, 5], [7, 4]]])  # (column, row) of the windows, [T, K, 2]
    positions = corners + (WINDOW - 1) / 2
    z = torch.atanh(positions.double() / ((SIDE - 1) / 2) - 1).flatten(1)[None]
    s = torch.randn(1, 8, dtype=torch.float64)
    images = decoder.images(s)[0, :, 0]
    expected = torch.zeros(2, SIDE, SIDE, dtype=torch.float64)
    for frame in range(2):
        for number in range(2):
            for row in range(WINDOW):
                for column in range(WINDOW):
                    at = frame, int(corners[frame, number, 1]) + row, int(corners[frame, number, 0]) + column
                    seen = images[number, row, column]
                    expected[at] = expected[at] + seen - expected[at] * seen
    assert_close(decoder(s, z)[0, :, 0], expected)


def test_each_part_of_s_is_one_object() -> None:
    torch.manual_seed(0)
    decoder = ObjectDecoder((3, SIDE, SIDE), 8, objects=2, window=WINDOW, hidden_dim=5)
    s = torch.randn(2, 8)
    changed = s.clone()
    changed[:, 4:] = 0
    before, after = decoder.images(s), decoder.images(changed)
    assert before.shape == (2, 2, 3, WINDOW, WINDOW)
    assert_close(before[:, 0], after[:, 0])
    assert (before[:, 1] != after[:, 1]).all()


def test_images_start_as_centred_blobs() -> None:
    torch.manual_seed(0)
    images = ObjectDecoder((1, 64, 64), 64, objects=2, window=32, hidden_dim=256).images(torch.zeros(1, 64))
    rows = torch.arange(32.0)
    for image in images[0, :, 0]:
        centre = torch.stack([image.sum(axis) @ rows for axis in (0, 1)]) / image.sum()
        assert_close(centre, torch.tensor([15.5, 15.5]), rtol=0, atol=0.3)
        assert image[16, 16] > 0.5 > 0.02 > image[0].max()


def test_autocast_does_not_change_what_is_decoded() -> None:
    torch.manual_seed(0)
    decoder = ObjectDecoder((1, SIDE, SIDE), 8, objects=2, window=WINDOW, hidden_dim=5)
    s, z = torch.randn(2, 8), torch.randn(2, 3, 4)
    plain = decoder(s, z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(decoder(s, z), plain)
