"""Several processes are one batch: their gradients, terms and running statistics are those of one process."""

import subprocess
import sys
from pathlib import Path

import pytest
import ranked_gradients
import torch
from ranked_gradients import CASES, RANKS
from torch import Tensor, nn
from torch.testing import assert_close

from seqviews.model.ranks import ranks, synchronise_batch_norm

LAST = {"mocogan": "generator"}
"""The last player of a case that has none named model."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ranks")
    subprocess.run([sys.executable, ranked_gradients.__file__, str(out)], check=True)
    return out


def relative(found: list[Tensor], expected: list[Tensor]) -> float:
    """The norm of the difference of two gradients over the norm of one."""
    a, b = (torch.cat([part.flatten() for part in parts]).double() for parts in (found, expected))
    assert b.norm() > 1e-4
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("count", RANKS[1:])
@pytest.mark.parametrize("case", CASES)
def test_ranks_that_share_a_batch_have_the_gradient_of_one(folder: Path, case: str, count: int) -> None:
    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 1e-5)):
        one, several = (torch.load(folder / f"{n}-{dtype}.pt", weights_only=True)[case] for n in (1, count))
        assert one["gradients"].keys() == several["gradients"].keys() >= {f"total of {LAST.get(case, 'model')}"}
        if case == "released" and dtype == torch.float32:
            tolerance = 1e-2  # one of its activations is within rounding of the kink of its LeakyReLU
        for term, gradient in one["gradients"].items():
            assert relative(several["gradients"][term], gradient) < tolerance, (term, dtype)
        for kind in ("values", "buffers"):
            assert one[kind].keys() == several[kind].keys()
            for name, expected in one[kind].items():
                assert_close(several[kind][name], expected, rtol=1e-5, atol=1e-5, msg=name)


def test_one_process_is_the_whole_batch() -> None:
    assert ranks() == (0, 1)
    norm = nn.Sequential(nn.BatchNorm1d(4))
    reference = nn.BatchNorm1d(4)
    synchronise_batch_norm(norm)
    x = torch.randn(6, 4)
    assert_close(norm(x), reference(x))
    assert_close(norm.state_dict()["0.running_var"], reference.running_var)
    with pytest.raises(ValueError, match="0 cannot"):
        synchronise_batch_norm(nn.Sequential(nn.BatchNorm2d(4, track_running_stats=False)))
