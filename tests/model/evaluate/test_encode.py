from pathlib import Path

import pytest
import torch
from moving_squares import LENGTH, MovingSquares
from square_models import PerfectModel, SquareGenerator
from torch import Tensor

from seqviews.model.evaluate.encode import check_records, encode
from seqviews.model.protocol import Posterior
from seqviews.model.scaling import MelScale, PixelScale
from seqviews.pipeline.features import Features, MelFeatures
from seqviews.pipeline.manifest import DatasetInfo
from seqviews.pipeline.records import Batch
from seqviews.pipeline.stream.stream import SequenceStream


def test_rows_are_in_the_order_of_the_split(squares: Path) -> None:
    factors = ("shade", "path")
    reported: list[tuple[str, float, float]] = []

    def keep(x: Tensor, posterior: Posterior, batch: Batch) -> dict[str, Tensor]:
        return {"brightest": x.amax(dim=(1, 2, 3, 4)), "index": batch.indices}

    stream = SequenceStream(squares / "val", 5, seed=5, factors=factors)
    encoded = encode(PerfectModel(), stream, PixelScale(), keep=keep, progress=lambda *report: reported.append(report))
    assert reported == [("val", 50, 64), ("val", 64, 64)]
    assert encoded.indices.tolist() == encoded.values["index"].tolist() == list(range(64))
    assert encoded.static.dtype == encoded.dynamic.dtype == torch.float32
    assert encoded.dynamic.shape == (64, LENGTH, 16 * 16)
    assert torch.equal(encoded.values["brightest"], encoded.static[:, 0])
    for batch in SequenceStream(squares / "val", 16, factors=factors):
        assert [encoded.keys[i] for i in batch.indices] == batch.keys
        for name in factors:
            assert torch.equal(encoded.factors[name][batch.indices], batch.factors[name])
        assert torch.equal(encoded.static[batch.indices, 0], batch.x.amax(dim=(1, 2, 3, 4)) / 255)
        assert torch.equal(encoded.dynamic[batch.indices] > 0, batch.x.flatten(2) > 0)


def test_records_that_the_run_was_not_trained_on_are_rejected() -> None:
    mel = MelFeatures((0.0,) * 80, (1.0,) * 80)
    speech = DatasetInfo("speech", "", "", Features.for_segments(20, mel), {}, {})
    with pytest.raises(ValueError, match="speech holds segments, and the run was trained on clips"):
        check_records(PerfectModel(), PixelScale(), speech)
    with pytest.raises(ValueError, match="squares holds clips, and the run was trained on segments"):
        check_records(PerfectModel(), MelScale(mel), MovingSquares().info)
    colour = DatasetInfo("colour", "", "", Features((4, 16, 16, 3)), {}, {})
    with pytest.raises(ValueError, match=r"frames are \[3, 16, 16\], the method samples \[1, 16, 16\]"):
        check_records(SquareGenerator(), PixelScale(), colour)
    check_records(SquareGenerator(), PixelScale(), MovingSquares().info)
