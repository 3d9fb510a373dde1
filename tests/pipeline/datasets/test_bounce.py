import numpy as np
import pytest

from seqviews.pipeline.datasets.bounce import bounce, bounce_many, path_words


@pytest.mark.parametrize(("limit", "speed"), [(36, 4), (18, 2), (2, 1), (1, 4)])
def test_a_path_stays_in_the_frame_and_turns_at_walls_only(limit: int, speed: int) -> None:
    turns: list[tuple[int, int]] = []
    for seed in range(30):
        path = bounce(np.random.default_rng(seed), 60, limit, speed)
        assert 0 <= path.min() <= path.max() <= limit
        steps = np.diff(path, axis=0)
        assert np.abs(steps).max() <= speed
        at_wall = ((path == 0) | (path == limit)).any(axis=1)
        for t in range(1, len(steps)):
            if (steps[t] != steps[t - 1]).any():
                assert at_wall[t] or at_wall[t + 1], "the velocity changed away from the walls"
                turns.append(tuple(steps[t].tolist()))
    assert len(turns) > 50
    assert len(set(turns)) > 2 * speed  # not a mirror: any velocity away from the wall can follow


def test_a_step_over_the_wall_ends_at_it_and_the_next_one_leads_away() -> None:
    turned_along: list[bool] = []
    for seed in range(200):
        path = bounce(np.random.default_rng(seed), 40, 36, 4).tolist()
        for before, a, b, c in zip(path, path[1:], path[2:], path[3:], strict=False):
            step, cut = a[0] - before[0], b[0] - a[0]
            if 0 < a[1] < 36 and b[0] in (0, 36) and abs(cut) < abs(step) and cut * step > 0:
                assert 1 <= (c[0] - b[0]) * (1 if b[0] == 0 else -1) <= 4
                turned_along.append(c[1] - b[1] != b[1] - a[1])
    assert len(turned_along) > 50
    assert np.mean(turned_along) > 0.5  # the velocity along the wall is drawn again too


@pytest.mark.parametrize(("limit", "speed"), [(18, 2), (1, 4), (0, 1)])
def test_many_paths_follow_the_rule_each_by_its_own_words(limit: int, speed: int) -> None:
    frames, rng = 40, np.random.default_rng(limit)
    words = rng.integers(0, 1 << 64, (7, 2, path_words(frames)), dtype=np.uint64)
    paths = bounce_many(words, frames, limit, speed)
    assert paths.shape == (7, 2, frames, 2)
    walls = 0
    for of_clip, clip in zip(paths, words.tolist(), strict=True):
        for path, word in zip(of_clip, clip, strict=True):
            quads = [word[i : i + 2] for i in range(0, len(word), 2)]
            position = [w * (limit + 1) >> 64 for w in quads[0]]
            velocity = [(w * (2 * speed + 1) >> 64) - speed for w in quads[1]]
            for t in range(frames):
                assert path[t].tolist() == position
                moved = [p + v for p, v in zip(position, velocity, strict=True)]
                position = [min(max(p, 0), limit) for p in moved]
                if position != moved:
                    walls += 1
                    for axis, (there, here) in enumerate(zip(moved, position, strict=True)):
                        away, along = quads[2 + 2 * t][axis], quads[3 + 2 * t][axis]
                        inward = 1 if there < here else -1
                        turned = inward * (1 + (away * speed >> 64)), (along * (2 * speed + 1) >> 64) - speed
                        velocity[axis] = turned[there == here]
    assert walls > 20
