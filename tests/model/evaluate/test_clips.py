from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from moving_squares import LENGTH, SHADES, MovingSquares
from square_models import EntangledModel, PerfectModel, exact_judge
from torch import Tensor

from seqviews.model.evaluate.clips import DRAWS, PSNR, SETTINGS, check_records, encode_clips, partners, score
from seqviews.model.evaluate.metrics import MAX_PSNR, foreground_psnr
from seqviews.model.scaling import MelScale, PixelScale
from seqviews.pipeline.manifest import DatasetInfo, Features, MelFeatures
from seqviews.pipeline.stream.stream import SequenceStream

INFO = MovingSquares().info


def stream(squares: Path, batch_size: int = 16, seed: int = 0) -> SequenceStream:
    return SequenceStream(squares / "test", batch_size, seed=seed, factors=("shade", "way", "path"))


def test_a_perfect_model_scores_everything(squares: Path) -> None:
    model = PerfectModel()
    scores = score(model, exact_judge, encode_clips(model, exact_judge, stream(squares)), INFO)
    accuracies = {name: value for name, value in scores.items() if name.endswith("accuracy")}
    assert accuracies == dict.fromkeys(
        [
            f"{setting}/{factor}/accuracy"
            for setting in ("real", "reconstruction", "swap")
            for factor in ("shade", "way")
        ]
        + ["static_drawn/way/accuracy", "dynamic_drawn/shade/accuracy"],
        1.0,
    )
    assert scores[PSNR] == MAX_PSNR
    errors = {name: value for name, value in scores.items() if name.endswith("error")}
    assert set(errors) == {f"{setting}/path/error" for setting in SETTINGS if setting != "dynamic_drawn"}
    assert max(errors.values()) == pytest.approx(0, abs=1e-5)
    assert scores["static_drawn/shade/inter_entropy"] == pytest.approx(math.log(len(SHADES)), abs=0.02)


def test_an_entangled_model_is_found_out(squares: Path) -> None:
    model = EntangledModel()
    clips = encode_clips(model, exact_judge, stream(squares))
    scores = score(model, exact_judge, clips, INFO)
    swapped = clips.factors["shade"][partners(len(clips), torch.Generator().manual_seed(0))]
    chance = float((swapped == clips.factors["shade"]).double().mean())
    assert scores["reconstruction/shade/accuracy"] == 1
    assert scores["swap/way/accuracy"] == 1
    assert scores["swap/shade/accuracy"] == pytest.approx(chance)
    assert chance < 0.5
    assert scores["dynamic_drawn/shade/accuracy"] == pytest.approx(0.25, abs=0.1)


def test_every_clip_is_drawn_as_often_as_it_says(squares: Path) -> None:
    model = PerfectModel()
    clips = encode_clips(model, exact_judge, stream(squares))
    done: dict[str, tuple[int, int]] = {}
    score(
        model, exact_judge, clips, INFO, batch_size=50, progress=lambda what, n, total: done.update({what: (n, total)})
    )
    n = len(clips)
    assert n == 64
    assert done == {
        "reconstruction": (n, n),
        "swap": (n, n),
        "static_drawn": (DRAWS * n, DRAWS * n),
        "dynamic_drawn": (DRAWS * n, DRAWS * n),
    }


def test_the_seed_decides_the_scores_and_the_batch_size_does_not(squares: Path) -> None:
    model = EntangledModel()
    clips = encode_clips(model, exact_judge, stream(squares))
    first = score(model, exact_judge, clips, INFO, seed=3)
    assert score(model, exact_judge, clips, INFO, seed=3, batch_size=7) == first
    assert score(model, exact_judge, clips, INFO, seed=4) != first


def test_clips_are_encoded_in_the_order_of_the_split(squares: Path) -> None:
    clips = encode_clips(PerfectModel(), exact_judge, stream(squares))
    other = encode_clips(PerfectModel(), exact_judge, stream(squares, batch_size=23, seed=5))
    assert clips.indices.tolist() == other.indices.tolist() == list(range(64))
    assert torch.equal(clips.static, other.static)
    assert torch.equal(clips.dynamic, other.dynamic)
    for batch in stream(squares):
        assert torch.equal(batch.factors["path"], clips.factors["path"][batch.indices])
        assert torch.equal(batch.x.amax(dim=(1, 2, 3, 4)) / 255, clips.static[batch.indices, 0])
    assert clips.dynamic.shape == (64, LENGTH, 16 * 16)


def test_the_psnr_is_that_of_each_clip_s_reconstruction(squares: Path) -> None:
    class Darker(PerfectModel):
        def decode(self, s: Tensor, z: Tensor) -> Tensor:
            return super().decode(s, z) - 0.01 * s[:, :, None, None, None]

    model = Darker()
    clips = encode_clips(model, exact_judge, stream(squares))
    for batch in stream(squares):
        x = batch.x / 255
        posterior = model.encode(x)
        decoded = model.decode(posterior.static.mean, posterior.dynamic.mean)
        assert clips.psnr[batch.indices] == pytest.approx(foreground_psnr(decoded, x))
    assert score(model, exact_judge, clips, INFO)[PSNR] == pytest.approx(float(clips.psnr.mean()))
    assert clips.psnr.isfinite().all()


def test_what_the_run_was_not_trained_on_is_refused() -> None:
    features = Features.for_segments(20, MelFeatures((0.0,) * 80, (1.0,) * 80))
    speech = DatasetInfo("speech", "", "", features, {}, {})
    with pytest.raises(ValueError, match="speech holds segments, and the run was trained on clips"):
        check_records(PerfectModel(), PixelScale(), speech)
    with pytest.raises(ValueError, match="squares holds clips, and the run was trained on segments"):
        check_records(PerfectModel(), MelScale(MelFeatures((0.0,) * 80, (1.0,) * 80)), INFO)


def test_only_some_clips_if_so_wished(squares: Path) -> None:
    everything = encode_clips(PerfectModel(), exact_judge, stream(squares))
    some = encode_clips(PerfectModel(), exact_judge, stream(squares), max_clips=21)
    assert len(some) == 21
    assert torch.equal(some.static, everything.static[some.indices])
    assert torch.equal(some.judged["way"], everything.judged["way"][some.indices])
    with pytest.raises(ValueError, match="gives 1 clips to evaluate"):
        encode_clips(PerfectModel(), exact_judge, stream(squares), max_clips=1)


@pytest.mark.parametrize("count", [2, 3, 10, 101])
def test_nobody_is_its_own_partner(count: int) -> None:
    for seed in range(20):
        partner = partners(count, torch.Generator().manual_seed(seed))
        assert sorted(partner.tolist()) == list(range(count))
        assert not (partner == torch.arange(count)).any()
