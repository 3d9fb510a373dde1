"""The warnings of an evaluation of speech: planted faults are found, and a method that is right has none."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from toy_speech import HALF, SCALE, PerfectSpeech
from untrained import run_of

from seqviews.model.evaluate.evaluation import Evaluation, evaluate
from seqviews.model.gaussian import Gaussian
from seqviews.model.protocol import Posterior


class DropsStatic(PerfectSpeech):
    """The decoder ignores s."""

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        return super().decode(torch.zeros_like(s), z)


class CopiesStatic(PerfectSpeech):
    """z holds a copy of s, small enough that the cosine does not see it."""

    def encode(self, x: Tensor) -> Posterior:
        both = torch.cat([x[:, :, :HALF], 0.01 * x[:, :, HALF:]], dim=2)
        return Posterior(super().encode(x).static, Gaussian(both, torch.zeros_like(both)))

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        return super().decode(s, z[:, :, :HALF])


class DecodesCopy(CopiesStatic):
    """And the decoder uses the copy, and s for nothing but noise."""

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        return torch.cat([z[:, :, :HALF] + 0.3 * s[:, None], 100 * z[:, :, HALF:]], dim=2)


def evaluated(method: PerfectSpeech, speech: Path, folder: Path) -> Evaluation:
    return evaluate(run_of(folder, method, SCALE), speech)


def test_a_method_that_is_right_has_no_warning(speech: Path, tmp_path: Path) -> None:
    evaluation = evaluated(PerfectSpeech(), speech, tmp_path / "run")
    metrics = evaluation.metrics
    assert evaluation.warnings == []
    for place in ("all/segment", "all/utterance", "many/segment", "many/utterance"):
        assert metrics[f"{place}/swap/voice_of_s"] == metrics[f"{place}/swap/ceiling"] == 1
        assert metrics[f"{place}/swap/voice_of_z"] == 0
    assert metrics["all/segment/swap/words_of_z"] == metrics["all/segment/swap/words_kept"] > 0.9
    assert metrics["all/segment/swap/words_of_s"] < 0.3
    assert metrics["use/static_exchanged"] + metrics["use/dynamic_exchanged"] == pytest.approx(1)
    assert metrics["all/utterance/eer/z_mean/lda"] > 0.3


@pytest.mark.parametrize(
    ("method", "faults"),
    [
        (DropsStatic(), ["the decoder ignores s"]),
        (CopiesStatic(), ["z holds the speaker"]),
        (DecodesCopy(), ["z holds the speaker", "swaps keep the voice of z"]),
    ],
)
def test_planted_faults_are_found(method: PerfectSpeech, faults: list[str], speech: Path, tmp_path: Path) -> None:
    evaluation = evaluated(method, speech, tmp_path / "run")
    assert evaluation.metrics["all/segment/motion_eer"] > 0.3, "the cosine does not see it"
    assert all(any(text.startswith(fault) for text in evaluation.warnings) for fault in faults)
    assert all(text in evaluation.page for text in evaluation.warnings)
