import torch
from torch.nn import functional

from seqviews.model.evaluate.clips.judge import Judge, jitter
from seqviews.pipeline.records import Batch


def test_jitter_moves_trajectories_with_their_frames() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randint(4, 60, (16, 3, 1, 2), generator=generator)
    frames = torch.zeros(16, 3, 64, 64, 1, dtype=torch.uint8)
    frames[torch.arange(16)[:, None], torch.arange(3), points[..., 0, 1], points[..., 0, 0]] = 255
    factors = {"path": points.float(), "kind": torch.arange(16)}
    batch = Batch(frames.permute(0, 1, 4, 2, 3), [""] * 16, torch.arange(16), 0, factors)
    x, moved = jitter(batch, generator)
    brightest = x.flatten(2).argmax(2)
    torch.testing.assert_close(torch.stack([brightest % 64, brightest // 64], -1)[:, :, None].float(), moved["path"])
    assert torch.equal(moved["kind"], factors["kind"])
    shifts = moved["path"] - factors["path"]
    assert {int(shift) for shift in shifts.flatten()} == {-2, -1, 0, 1, 2}
    assert 0 <= x.min() <= x.max() <= 1


def test_the_loss_ignores_the_order_of_points() -> None:
    torch.manual_seed(0)
    judge = Judge((1, 32, 32), {}, {"trajectory": 2}).eval()
    x, path = torch.rand(3, 4, 1, 32, 32), torch.rand(3, 4, 2, 2) * 32
    torch.testing.assert_close(judge.loss(x, {"trajectory": path}), judge.loss(x, {"trajectory": path.flip(2)}))


def test_classes_that_it_was_not_trained_on_do_not_count_in_its_loss() -> None:
    torch.manual_seed(0)
    judge, x = Judge((1, 32, 32), {"person": 5}, {}), torch.rand(6, 4, 1, 32, 32)
    judge.train().loss(x, {"person": torch.tensor([0, 2, 2, 0, 2, 0])})
    assert judge.seen("person").tolist() == [True, False, True, False, False]
    judge.eval()
    people, known = torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([0, 2, 5])
    expected = functional.cross_entropy(judge(x)["person"][known], people[known])
    torch.testing.assert_close(judge.loss(x, {"person": people}), expected)
    assert judge.loss(x[:2], {"person": torch.tensor([1, 3])}) == 0


def test_pairs_are_predicted_by_the_mean_over_five_positions() -> None:
    torch.manual_seed(0)
    parts = torch.tensor([[0, 0], [0, 1], [1, 1]])
    judge = Judge((1, 32, 32), {"digits": 3, "kind": 4}, {"trajectory": 2}, {"digits": parts})
    x = torch.rand(2, 3, 1, 32, 32)
    predicted, alone = judge.eval().predict(x), judge(x)
    expected = alone["digits"].softmax(1)
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        moved = torch.empty_like(x)
        for row in range(32):
            for column in range(32):
                moved[..., row, column] = x[..., min(max(row - down, 0), 31), min(max(column - right, 0), 31)]
        expected = expected + judge(moved)["digits"].softmax(1)
    torch.testing.assert_close(predicted["digits"], expected / 5)
    torch.testing.assert_close(predicted["kind"], alone["kind"].softmax(1))
    torch.testing.assert_close(predicted["trajectory"], alone["trajectory"])
