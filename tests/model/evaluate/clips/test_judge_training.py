import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

import seqviews.model.evaluate.clips.judge_training
from seqviews.model.evaluate.clips.judge import Judge
from seqviews.model.evaluate.clips.judge_training import cached_judge, train_judge
from seqviews.model.evaluate.clips.metrics import factor_scores
from seqviews.pipeline.stream.stream import SequenceStream


def streams(folder: Path, *splits: str, batch_size: int = 64) -> list[SequenceStream]:
    splits = splits or ("train", "val")
    factors = ("shade", "path") if folder.name == "toy" else ("shade", "way", "path")
    return [SequenceStream(folder / split, batch_size, factors=factors) for split in splits]


def test_learns_every_kind_of_factor_and_predicts_each_clip_alone(squares: Path) -> None:
    judge = train_judge(*streams(squares), steps=96)
    (test,) = streams(squares, "test")[0]
    together, alone = judge.predict(test.x / 255), judge.predict(test.x[5:6] / 255)
    scores = factor_scores(together, test.factors)
    assert scores["shade/accuracy"] >= 0.98
    assert scores["way/accuracy"] >= 0.98
    assert scores["path/error"] < 1.0
    for name, value in alone.items():
        torch.testing.assert_close(value, together[name][5:6], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together["way"].sum(1), torch.ones(len(test.keys)))


def test_keeps_the_weights_with_the_lowest_validation_loss(squares: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = "classes.way.weight"
    losses = iter([3.0, 1.0, 2.0, 1.5, 9.0, 9.0, 9.0, 9.0])
    seen: list[torch.Tensor] = []

    def pretended_loss(judge: Judge, *args: object) -> float:
        seen.append(judge.state_dict()[weight].clone())
        return next(losses)

    monkeypatch.setattr(seqviews.model.evaluate.clips.judge_training, "_mean_loss", pretended_loss)
    judge = train_judge(*streams(squares), steps=8)
    assert [torch.equal(judge.state_dict()[weight], then) for then in seen] == [i == 1 for i in range(8)]


def test_a_cached_judge_is_read_again_and_its_seed_determines_the_weights(squares: Path, tmp_path: Path) -> None:
    steps: list[float] = []

    def get(folder: str, seed: int) -> dict[str, torch.Tensor]:
        options: dict[str, Any] = {"seed": seed, "steps": 2, "progress": lambda what, done, total: steps.append(done)}
        return cached_judge(tmp_path / folder, *streams(squares), **options).state_dict()

    first = get("judges", 0)
    trained = len(steps)
    again = get("judges", 0)
    assert len(steps) == trained > 0
    elsewhere = get("elsewhere", 0)
    assert len(steps) == 2 * trained
    assert all(torch.equal(first[name], again[name]) and torch.equal(first[name], elsewhere[name]) for name in first)
    assert not torch.equal(first["classes.way.weight"], get("judges", 1)["classes.way.weight"])
    assert len(steps) == 3 * trained
    (path,) = (tmp_path / "elsewhere").glob("*.pt")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be read; delete it"):
        get("elsewhere", 0)


def test_a_second_evaluation_waits_for_the_judge_that_the_first_trains(
    few_squares: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained: list[float] = []
    waits = Event()
    caplog.set_level("INFO")

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "is training the same judge" in record.getMessage():
                waits.set()

    def progress(what: str, done: float, total: float) -> None:
        trained.append(done)
        assert waits.wait(60)

    def get() -> dict[str, torch.Tensor]:
        return cached_judge(tmp_path, *streams(few_squares), steps=1, progress=progress).state_dict()

    logger = logging.getLogger("seqviews")
    logger.addHandler(handler := Handler())
    try:
        with ThreadPoolExecutor(2) as pool:
            first, second = (future.result() for future in [pool.submit(get) for _ in range(2)])
    finally:
        logger.removeHandler(handler)
    assert trained == [1]
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_factor_that_is_no_trajectory_is_an_error(toy: Path) -> None:
    with pytest.raises(ValueError, match=r"factor path is \[4, 2\] numbers a clip"):
        train_judge(*streams(toy, batch_size=4), steps=1)


def test_a_cache_that_cannot_be_used_is_found_before_the_training(
    few_squares: Path, tmp_path: Path, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The judge is trained all the same; the last folder has no room for it."""
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    os.chown(tmp_path / "open", 12345, 12345)
    (small_disk / "x").write_bytes(bytes(1500 << 10))
    cases = {tmp_path / "link": "is a link to nothing", tmp_path / "open": "is another user's", small_disk: "not kept"}
    seen: list[str] = []
    for folder, reason in cases.items():
        caplog.clear()
        cached_judge(folder, *streams(few_squares), steps=1, progress=lambda *_: seen.append(caplog.text))
        assert reason in [r.message for r in caplog.records if r.levelname == "WARNING"][-1]
    assert [reason in text for reason, text in zip(cases.values(), seen, strict=True)] == [True, True, False]


@pytest.mark.parametrize("steps", [1, 2, 5, 6])
def test_few_steps_train_a_judge(few_squares: Path, steps: int) -> None:
    judge = train_judge(*streams(few_squares), steps=steps)
    assert all(value.isfinite().all() for value in judge.state_dict().values())


def digit_streams(folder: Path) -> list[SequenceStream]:
    return [SequenceStream(folder / split, 12, factors=("digits", "trajectory")) for split in ("train", "val")]


@pytest.mark.parametrize("accuracies", [[0.98], [0.2, 0.969, 0.97], [0.1, 0.2, 0.3, 0.4]])
def test_a_judge_of_pairs_is_trained_until_it_is_right(
    few_digits: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, accuracies: list[float]
) -> None:
    found, steps = iter(accuracies), dict[str, float]()
    monkeypatch.setattr(seqviews.model.evaluate.clips.judge_training, "STEPS", 2)
    monkeypatch.setattr(seqviews.model.evaluate.clips.judge_training, "_accuracies", lambda *_: {"digits": next(found)})
    caplog.set_level("INFO")
    train_judge(*digit_streams(few_digits), progress=lambda task, done, total: steps.update({task: done}))
    rounds = ["judge", *(f"judge, round {number}" for number in (2, 3, 4))][: len(accuracies)]
    assert steps == dict(zip(rounds, (2, 4, 8, 16), strict=False))
    assert not list(found)
    times = [message for message in caplog.messages if message.startswith("the judge took")]
    assert [message.rpartition(", ")[2] for message in times] == [f"digits {share:.1%}" for share in accuracies]
    assert times[-1].startswith(f"the judge took {sum(steps.values())} steps and ")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["the judge is still right about less than 97% of validation clips"] * (accuracies[-1] < 0.9)


def test_steps_that_are_given_and_other_factors_are_one_round(
    few_digits: Path, few_squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    monkeypatch.setattr(seqviews.model.evaluate.clips.judge_training, "STEPS", 4)
    for streamed, steps in ((digit_streams(few_digits), 3), (streams(few_squares), None)):
        train_judge(*streamed, steps=steps, progress=lambda task, done, total: seen.append(total))
    assert seen == [3] * 3 + [4] * 4
