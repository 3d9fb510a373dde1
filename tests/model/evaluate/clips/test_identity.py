import pytest
import torch
from sklearn.metrics import roc_curve
from torch import Tensor

from seqviews.model.evaluate.clips.identity import colour_error, identity_error, unseen_factors
from seqviews.model.evaluate.clips.judge import Judge
from seqviews.pipeline.features import Features
from seqviews.pipeline.manifest import DatasetInfo


def people(count: int, noise: float, seed: int) -> tuple[Tensor, Tensor]:
    """Probabilities `[count, 12]` of clips of five people, a point for each plus noise, and who they show."""
    generator = torch.Generator().manual_seed(seed)
    points = 3 * torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    shown = torch.arange(count) % 5
    return (points[shown] + noise * torch.randn(count, 12, generator=generator)).softmax(1), shown


@pytest.mark.parametrize("noise", [1.0, 3.0])
def test_the_error_is_that_of_a_loop_over_pairs(noise: float) -> None:
    real, shown = people(20, noise, 1)
    made, _ = people(20, noise, 2)
    seen = torch.arange(12) % 3 != 0
    origins = torch.randperm(20, generator=torch.Generator().manual_seed(3))
    labels, scores = [], []
    for n in range(20):
        for m in range(20):
            if m != origins[n]:
                a, b = (p[seen].double().log() - p[seen].double().log().mean() for p in (made[n], real[m]))
                scores.append(float(a @ b / a.norm() / b.norm()))
                labels.append(bool(shown[origins[n]] == shown[m]))
    accepted, found, _ = roc_curve(labels, scores)
    nearest = abs(accepted - (1 - found)).argmin()
    error = identity_error(made, real, shown, origins, seen)
    assert min(accepted[nearest], 1 - found[nearest]) <= error <= max(accepted[nearest], 1 - found[nearest])


def test_mean_colours_are_compared_by_their_distance() -> None:
    generator = torch.Generator().manual_seed(0)
    shown = torch.arange(30) % 5
    colours = torch.rand(5, 3, generator=generator)[shown] + 0.3 * torch.rand(30, 3, generator=generator)
    pairs = [(a, b) for a in range(30) for b in range(30) if a != b]
    scores = [-float(((colours[a] - colours[b]) ** 2).sum() ** 0.5) for a, b in pairs]
    accepted, found, _ = roc_curve([bool(shown[a] == shown[b]) for a, b in pairs], scores)
    nearest = abs(accepted - (1 - found)).argmin()
    error = colour_error(colours, shown)
    assert 0.01 < error < 0.4
    assert min(accepted[nearest], 1 - found[nearest]) <= error <= max(accepted[nearest], 1 - found[nearest])
    assert colour_error(shown[:, None].float(), shown) == 0
    with pytest.raises(ValueError, match="requires two people"):
        colour_error(colours, torch.arange(30))


def test_clips_of_the_wrong_person_are_found() -> None:
    """The error is small if each clip shows the right person, and a half if the people are drawn at random."""
    real, shown = people(200, 0.5, 1)
    made, _ = people(200, 0.5, 2)
    seen = torch.ones(12, dtype=torch.bool)
    assert identity_error(made, real, shown, torch.arange(200), seen) < 0.02
    wrong = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    assert 0.4 < identity_error(made[wrong], real, shown, torch.arange(200), seen) < 0.6


def test_people_that_the_judge_knows_are_recognised_instead() -> None:
    info = DatasetInfo("faces", "", "", Features((4, 32, 32, 1)), {"person": list("abcde"), "sex": list("fm")}, {})
    judge = Judge((1, 32, 32), {"person": 5, "sex": 2}, {})
    judge.train().loss(torch.rand(3, 4, 1, 32, 32), {"person": torch.tensor([0, 1, 1]), "sex": torch.tensor([0, 1, 0])})
    unseen = {"person": torch.tensor([3, 4, 3]), "sex": torch.tensor([0, 1, 0])}
    assert {name: mask.tolist() for name, mask in unseen_factors(judge, info, unseen).items()} == {
        "person": [True, True, False, False, False]
    }
    for known_or_alone in ([1, 3, 3], [2, 3, 4], [4, 4, 4]):
        assert not unseen_factors(judge, info, {**unseen, "person": torch.tensor(known_or_alone)})


def test_one_clip_of_each_person_is_an_error() -> None:
    real, shown = people(5, 0.5, 1)
    with pytest.raises(ValueError, match="one of them in two clips"):
        identity_error(real, real, shown, torch.arange(5), torch.ones(12, dtype=torch.bool))
