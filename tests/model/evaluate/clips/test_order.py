"""The judge of order, on squares that move by known steps, and its metrics against counts by hand."""

from pathlib import Path

import pytest
import torch
from moving_squares import LENGTH
from torch import Tensor

from seqviews.model.evaluate.clips.judge import Judge
from seqviews.model.evaluate.clips.judge_training import train_judge
from seqviews.model.evaluate.clips.order import (
    IN_ORDER,
    OrderJudge,
    held,
    order_scores,
    shuffled,
    train_order,
    with_order,
)
from seqviews.pipeline.stream.stream import SequenceStream


def stream(squares: Path, split: str) -> SequenceStream:
    return SequenceStream(squares / split, 32, factors=("shade", "way", "path"))


@pytest.fixture(scope="module")
def judge(squares: Path) -> Judge:
    return train_judge(stream(squares, "train"), stream(squares, "val"), steps=40)


@pytest.fixture(scope="module")
def order(squares: Path, judge: Judge) -> OrderJudge:
    return train_order(judge, stream(squares, "train"), steps=200)


def clips(squares: Path) -> Tensor:
    return torch.cat([batch.x for batch in stream(squares, "test")]) / 255


def test_motionless_and_shuffled_clips_are_not_in_order(squares: Path, judge: Judge, order: OrderJudge) -> None:
    predict, x = with_order(judge, order), clips(squares)
    mixed = x[:, torch.tensor([1, 3, 0, 2])]
    shares = {
        name: float((predict(made)[IN_ORDER] > 0.5).double().mean())
        for name, made in {"real": x, "first": x[:, :1].expand_as(x), "mixed": mixed}.items()
    }
    assert shares["real"] > 0.9
    assert shares["first"] == 0
    assert shares["mixed"] < 0.1


def test_the_other_predictions_are_those_of_the_judge(squares: Path, judge: Judge, order: OrderJudge) -> None:
    x = clips(squares)[:5]
    predicted, expected = with_order(judge, order)(x), judge.predict(x)
    assert predicted[IN_ORDER].shape == (5,)
    assert predicted.keys() == {*expected, IN_ORDER}
    assert all(torch.equal(predicted[name], value) for name, value in expected.items())


def test_who_is_seen_does_not_count(order: OrderJudge) -> None:
    features = torch.rand(4, LENGTH, len(order.scale))
    with torch.inference_mode():
        torch.testing.assert_close(order(features), order(features + torch.rand(4, 1, len(order.scale))))


def test_the_seed_determines_it(squares: Path, judge: Judge) -> None:
    def weights(seed: int) -> Tensor:
        trained = train_order(judge, stream(squares, "train"), seed=seed, steps=3)
        return torch.nn.utils.parameters_to_vector(trained.parameters())

    before = torch.get_rng_state()
    first = weights(0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(weights(0), first)
    assert not torch.equal(weights(1), first)


def test_clips_are_held_and_shuffled() -> None:
    x = torch.arange(6 * 5).view(6, 5, 1)
    generator = torch.Generator().manual_seed(0)
    for clip, still, mixed in zip(x, held(x, generator), shuffled(x, generator), strict=True):
        assert len(set(still.flatten().tolist())) == 1
        assert still[0] in clip
        assert sorted(mixed.flatten().tolist()) == clip.flatten().tolist()
    assert len({int(clip[0, 0]) for clip in held(torch.arange(5).view(1, 5, 1).expand(200, 5, 1), generator)}) == 5


def test_scores_are_counts() -> None:
    predicted = {IN_ORDER: torch.tensor([0.9, 0.8, 0.2, 0.7]), "way": torch.eye(4), "path": torch.zeros(4, 5, 1, 2)}
    scores = order_scores(predicted, {"way": torch.tensor([0, 0, 2, 3]), "path": torch.zeros(4, 5, 1, 2)})
    assert scores == {"in_order": 0.75, "way/accuracy_in_order": 0.5}
    assert order_scores(predicted, {}) == {"in_order": 0.75}
