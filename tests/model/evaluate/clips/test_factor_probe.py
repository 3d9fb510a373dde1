import math

import pytest
import torch

from seqviews.model.evaluate.clips.factor_probe import PROBED, probe_factors
from seqviews.model.evaluate.encode import Encoded


def clips(count: int, seed: int) -> Encoded:
    """Clips whose s is their colour, and whose z is their path in every frame; the mean of z over time is not."""
    generator = torch.Generator().manual_seed(seed)
    colour = torch.randint(0, 4, (count,), generator=generator)
    path = torch.randn(count, 6, 1, 2, generator=generator)
    path = path - path.mean(1, keepdim=True)
    static = torch.nn.functional.one_hot(colour, 4).float()
    values = {"static": static, "dynamic": 3 * path[:, :, 0] + 1}
    for name in list(values):
        values[f"{name}_sample"] = values[name] + 0.5 * torch.randn(values[name].shape, generator=generator)
    return Encoded([str(i) for i in range(count)], torch.arange(count), {"colour": colour, "path": path}, values)


def test_factors_are_read_from_the_latents_that_hold_them() -> None:
    scores = probe_factors(clips(800, 0), clips(400, 1))
    assert len(scores) == 2 * (len(PROBED) + 1)
    assert scores["probe/colour/s/accuracy"] == 1
    assert 0.7 < scores["probe/colour/s_sample/accuracy"] < 1
    assert scores["probe/colour/z/accuracy"] < 0.35
    assert scores["probe/colour/chance/accuracy"] == pytest.approx(0.25, abs=0.06)
    chance = scores["probe/path/chance/error"]
    assert chance == pytest.approx(math.sqrt(math.pi / 2 * 5 / 6), abs=0.05), "the mean norm of a normal pair"
    assert scores["probe/path/z/error"] < 0.05 < scores["probe/path/z_sample/error"] < 0.5
    assert scores["probe/path/z_mean/error"] == pytest.approx(chance, abs=0.05)
    assert scores["probe/path/s/error"] == pytest.approx(chance, abs=0.05)


def test_a_factor_of_which_no_class_was_fitted_is_left_out() -> None:
    train, test = clips(800, 0), clips(400, 1)
    test.factors["colour"] += 4
    assert {name.split("/")[1] for name in probe_factors(train, test)} == {"path"}
