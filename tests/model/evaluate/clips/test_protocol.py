import math
from pathlib import Path
from typing import Any

import pytest
import torch
from moving_squares import SHADES, MovingSquares
from square_models import EntangledModel, PerfectModel, SquareGenerator, exact_judge
from torch import Tensor

from seqviews.model.evaluate.clips.metrics import MAX_PSNR, foreground_psnr
from seqviews.model.evaluate.clips.order import IN_ORDER
from seqviews.model.evaluate.clips.protocol import (
    DRAWS,
    OF_REAL_CLIPS,
    PSNR,
    SETTINGS,
    judge_real_clips,
    partners,
    score,
)
from seqviews.model.evaluate.encode import Encoded
from seqviews.model.protocol import Method
from seqviews.model.scaling import PixelScale
from seqviews.pipeline.stream.stream import SequenceStream

INFO = MovingSquares().info


def stream(squares: Path) -> SequenceStream:
    return SequenceStream(squares / "test", 16, factors=("shade", "way", "path"))


def judged(method: Method, squares: Path, maximum: int | None = None) -> Encoded:
    return judge_real_clips(method, exact_judge, stream(squares), PixelScale(), maximum=maximum)


def scored(method: Method, squares: Path, **options: Any) -> dict[str, float]:
    return score(method, exact_judge, judged(method, squares), INFO, **options)


def test_a_perfect_method_has_perfect_scores(squares: Path) -> None:
    scores = scored(PerfectModel(), squares)
    accuracies = {name: value for name, value in scores.items() if name.endswith("accuracy")}
    settings, factors = ("real", "reconstruction", "swap"), ("shade", "way")
    of_attacks = [name for name in accuracies if name.startswith(("held", "shuffled"))]
    assert {name: accuracies.pop(name) for name in of_attacks}["held/shade/accuracy"] == 1
    expected = [f"{setting}/{factor}/accuracy" for setting in settings for factor in factors]
    assert accuracies == dict.fromkeys([*expected, "static_drawn/way/accuracy", "dynamic_drawn/shade/accuracy"], 1.0)
    assert scores[PSNR] == MAX_PSNR
    errors = {name: value for name, value in scores.items() if name.endswith("error")}
    without_path = {"dynamic_drawn", "sampled", "static_redrawn", "dynamic_redrawn"}
    assert set(errors) == {f"{setting}/path/error" for setting in {*SETTINGS} - without_path}
    attacks = {"held/path/error", "shuffled/path/error"}
    assert max(errors[name] for name in errors.keys() - attacks) == pytest.approx(0, abs=1e-5)
    assert min(errors[name] for name in attacks) > 1
    assert scores["static_drawn/shade/inter_entropy"] == pytest.approx(math.log(len(SHADES)), abs=0.02)


def test_an_entangled_method_has_scores_at_chance(squares: Path) -> None:
    scores = scored(EntangledModel(), squares)
    shades = judged(EntangledModel(), squares).factors["shade"]
    chance = float((shades[partners(64, torch.Generator().manual_seed(0))] == shades).double().mean())
    assert scores["reconstruction/shade/accuracy"] == 1
    assert scores["swap/way/accuracy"] == 1
    assert scores["swap/shade/accuracy"] == pytest.approx(chance)
    assert chance < 0.5
    assert scores["dynamic_drawn/shade/accuracy"] == pytest.approx(0.25, abs=0.1)


def test_people_whom_the_judge_does_not_know_are_verified(squares: Path) -> None:
    identities = {"shade": torch.ones(len(SHADES), dtype=torch.bool)}
    perfect, entangled = (scored(model, squares, identities=identities) for model in (PerfectModel(), EntangledModel()))
    settings = ("real", "held", "shuffled", "reconstruction", "swap", "dynamic_drawn")
    expected = {"real/shade/colour_eer", *(f"{setting}/shade/eer" for setting in settings)}
    assert {name for name in perfect if "shade" in name} == expected
    assert max(value for name, value in perfect.items() if name.endswith("eer")) == 0
    assert entangled["reconstruction/shade/eer"] == 0
    assert entangled["swap/shade/eer"] > 0.3
    assert perfect["swap/way/accuracy"] == 1


@pytest.mark.parametrize("shades", [1, 3])
def test_a_generator_is_scored_on_its_samples(squares: Path, shades: int) -> None:
    scores = scored(SquareGenerator(shades), squares)
    assert {name.partition("/")[0] for name in scores} == {*OF_REAL_CLIPS, "sampled"}
    certain = {name for name in scores if name.endswith(("accuracy", "error")) and name.startswith(("real", "sampled"))}
    assert certain == {"real/shade/accuracy", "real/way/accuracy", "real/path/error"}
    assert scores["sampled/shade/intra_entropy"] == 0
    assert scores["sampled/shade/inception_score"] == pytest.approx(shades, abs=0.05)
    assert scores["sampled/way/inter_entropy"] == pytest.approx(math.log(4), abs=0.05)


@pytest.mark.parametrize("method", [PerfectModel, EntangledModel])
def test_a_generator_that_redraws_a_latent_is_compared_with_its_first_clip(
    squares: Path, method: type[PerfectModel]
) -> None:
    class Generator(method):  # type: ignore[misc, valid-type]
        encode = None

    scores = scored(Generator(), squares)
    assert "swap/way/accuracy" not in scores
    assert scores["static_redrawn/way/accuracy"] == 1  # of the entangled model, too: its s does nothing
    assert scores["static_redrawn/path/error"] == pytest.approx(0, abs=1e-5)
    perfect = method is PerfectModel
    assert scores["dynamic_redrawn/shade/accuracy"] == pytest.approx(1.0 if perfect else 0.25, abs=0.08)
    assert not {"static_redrawn/shade/accuracy", "dynamic_redrawn/way/accuracy"} & scores.keys()
    assert scores["dynamic_redrawn/way/inter_entropy"] == pytest.approx(math.log(4), abs=0.05)


def test_settings_depend_on_what_a_method_can_do(squares: Path) -> None:
    class WithoutPriors(PerfectModel):
        sample_static = sample_dynamic = None  # type: ignore[assignment]

    settings = {name.partition("/")[0] for name in scored(WithoutPriors(), squares)}
    assert settings == {*OF_REAL_CLIPS, "reconstruction", "swap"}

    class EncoderOnly(WithoutPriors):
        decode = None  # type: ignore[assignment]

    with pytest.raises(ValueError, match="EncoderOnly has no decode, which reconstructions and swaps need"):
        scored(EncoderOnly(), squares)


@pytest.mark.parametrize("method", [EntangledModel(), SquareGenerator()])
def test_every_latent_is_drawn_five_times_per_clip_as_the_seed_determines(squares: Path, method: Method) -> None:
    done: dict[str, tuple[float, float]] = {}
    first = scored(method, squares, seed=3, progress=lambda what, n, total: done.update({what: (n, total)}))
    assert scored(method, squares, seed=3, batch_size=7) == first
    assert scored(method, squares, seed=4) != first
    once, drawn = (64, 64), (DRAWS * 64, DRAWS * 64)
    expected = {"reconstruction": once, "swap": once, "static_drawn": drawn, "dynamic_drawn": drawn}
    assert done == ({"sampled": drawn} if isinstance(method, SquareGenerator) else expected)


def test_the_psnr_is_that_of_each_reconstruction(squares: Path) -> None:
    class Darker(PerfectModel):
        def decode(self, s: Tensor, z: Tensor) -> Tensor:
            return super().decode(s, z) - 0.01 * s[:, :, None, None, None]

    method = Darker()
    clips = judged(method, squares)
    for batch in stream(squares):
        x = batch.x / 255
        posterior = method.encode(x)
        decoded = method.decode(posterior.static.mean, posterior.dynamic.mean)
        assert clips.values[PSNR][batch.indices] == pytest.approx(foreground_psnr(decoded, x))
    assert scored(method, squares)[PSNR] == pytest.approx(float(clips.values[PSNR].mean()))
    assert clips.values[PSNR].isfinite().all()


def test_motion_counts_in_order_only_where_the_judge_says_so(squares: Path) -> None:
    def judge(x: Tensor) -> dict[str, Tensor]:
        predicted = exact_judge(x)
        steps = predicted["path"].diff(dim=1).flatten(2)
        even = (steps == steps[:, :1]).all(2).all(1) & (steps[:, 0] != 0).any(1)
        return {**predicted, IN_ORDER: even.float()}

    class Still(PerfectModel):
        def decode(self, s: Tensor, z: Tensor) -> Tensor:
            return super().decode(s, z[:, :1].expand_as(z))

    perfect, still = (
        score(method, judge, judge_real_clips(method, judge, stream(squares), PixelScale()), INFO)
        for method in (PerfectModel(), Still())
    )
    made = ("reconstruction", "swap", "static_drawn")
    for setting in ("real", *made):
        assert perfect[f"{setting}/way/accuracy_in_order"] == 1
    assert perfect["dynamic_drawn/in_order"] == 1
    assert "dynamic_drawn/way/accuracy_in_order" not in perfect
    assert {perfect["held/in_order"], *(still[f"{setting}/in_order"] for setting in made)} == {0}
    assert perfect["shuffled/in_order"] < 0.2
    assert "real/shade/accuracy_in_order" not in perfect


def test_a_part_of_the_clips(squares: Path) -> None:
    everything, part = judged(PerfectModel(), squares), judged(PerfectModel(), squares, 21)
    assert len(part) == 21
    for name, values in part.values.items():
        assert torch.equal(values, everything.values[name][part.indices])
    with pytest.raises(ValueError, match="there are 1 clips to evaluate"):
        judged(PerfectModel(), squares, 1)


@pytest.mark.parametrize("count", [2, 3, 10, 101])
def test_no_clip_is_its_own_partner(count: int) -> None:
    for seed in range(20):
        partner = partners(count, torch.Generator().manual_seed(seed))
        assert sorted(partner.tolist()) == list(range(count))
        assert not (partner == torch.arange(count)).any()
