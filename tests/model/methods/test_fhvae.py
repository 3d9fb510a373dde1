"""Each term against a loop over its formula, and what its gradient reaches."""

import math

import pytest
import torch
from naive_methods import batch_of, reached, seeded
from naive_networks import independent, lstm
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence
from torch.testing import assert_close

from seqviews.augment.views import Views
from seqviews.model.gaussian import Gaussian
from seqviews.model.methods.fhvae import FHVAE

SOURCE, RECORDS = [4, 1, 4, 7, 1], [10, 3, 10, 5, 3]
MELS, LENGTH = 5, 4


def small(rows: int = 6) -> FHVAE:
    torch.manual_seed(0)
    sizes = {"static_dim": 3, "dynamic_dim": 2, "hidden_dim": 8, "layers": 1}
    model = FHVAE(frame_shape=(MELS,), sources=rows, alpha=7.0, **sizes).double()
    for name, parameter in model.named_parameters():
        if "head" in name:
            parameter.data.mul_(3)  # vectors that differ between segments
    return model


def labelled() -> Views:
    labels = {"source": torch.tensor(SOURCE), "source_records": torch.tensor(RECORDS)}
    return Views(batch_of((MELS,), len(SOURCE), LENGTH).anchor, labels=labels)


def normal(mean: Tensor, variance: float) -> Independent[Normal]:
    return Independent(Normal(mean, torch.full_like(mean, math.sqrt(variance))), 1)


def density(of: Independent[Normal], value: Tensor) -> float:
    return float(of.log_prob(value))  # type: ignore[no-untyped-call]


def test_each_term_is_a_loop_over_its_formula() -> None:
    model, views, generator = small(), labelled(), seeded()
    x, loss = views.anchor, model.loss(views, generator=seeded())
    weights = dict(model.state_dict())
    with torch.no_grad():
        q_s = model.static_head(lstm(x, weights, "static_lstm")[:, -1])
        s = q_s.rsample(generator)
        with_s = torch.cat([x, torch.stack([s] * LENGTH, dim=1)], dim=2)
        q_z = model.dynamic_head(lstm(with_s, weights, "dynamic_lstm")[:, -1])
        z = q_z.rsample(generator)
        latents = torch.stack([torch.cat([z, s], dim=1)] * LENGTH, dim=1)
        mels = model.decoder_head(lstm(latents, weights, "decoder_lstm"))
        of_source = {  # the first rows, in the order of the names
            name: sum(q_s.mean[i] for i, n in enumerate(SOURCE) if n == name) / (SOURCE.count(name) + 0.25)
            for name in (1, 4, 7)
        }
        expected = dict.fromkeys(("reconstruction", "kl_static", "kl_dynamic", "table_prior", "discrimination"), 0.0)
        for i, (of, records) in enumerate(zip(SOURCE, RECORDS, strict=True)):
            mean = torch.as_tensor(of_source[of])
            for t in range(LENGTH):
                of_frame = independent(Gaussian(mels.mean[i, t], mels.logvar[i, t]))
                expected["reconstruction"] -= density(of_frame, x[i, t]) / len(x)
            row_s, row_z = (independent(Gaussian(q.mean[i], q.logvar[i])) for q in (q_s, q_z))
            expected["kl_static"] += float(kl_divergence(row_s, normal(mean, 0.25))) / len(x)
            expected["kl_dynamic"] += float(kl_divergence(row_z, normal(torch.zeros_like(z[i]), 1.0))) / len(x)
            expected["table_prior"] -= density(normal(torch.zeros_like(mean), 1.0), mean) / records / len(x)
            scores = {
                n: math.exp(-(math.dist(q_s.mean[i], torch.as_tensor(m)) ** 2) / 0.5) for n, m in of_source.items()
            }
            expected["discrimination"] -= math.log(scores[of] / sum(scores.values())) / len(x)
    assert set(loss.terms) == set(expected) == set(model.curves)
    for name, value in expected.items():
        assert abs(value) > 1e-3, name
        assert loss.terms[name].item() == pytest.approx(value, rel=1e-6), name
    total = sum(expected.values()) + 6 * expected["discrimination"]
    assert loss.total.item() == pytest.approx(total, rel=1e-6)


def test_what_each_gradient_reaches() -> None:
    model = small()
    loss = model.loss(labelled())
    assert reached(model, loss.total) == {name for name, _ in model.named_children()}
    assert reached(model, loss.terms["discrimination"]) == {"static_lstm", "static_head", "table"}
    assert reached(model, loss.terms["table_prior"]) == {"table"}
    assert reached(model, loss.terms["kl_static"]) == {"static_lstm", "static_head", "table"}


def test_z_is_one_vector_a_segment_and_the_generator_decides_draws() -> None:
    model = small().eval()
    dynamic = model.encode(labelled().anchor).dynamic.mean
    assert_close(dynamic, dynamic[:, :1].expand_as(dynamic))
    s, z = model.sample_static(4000, seeded()), model.sample_dynamic(4000, 3, seeded())
    assert s.var().item() == pytest.approx(1.25, rel=0.05)
    assert z.var().item() == pytest.approx(1.0, rel=0.05)
    assert_close(z[:, 0], z[:, 2])
    assert model.decode(s[:2], z[:2]).shape == (2, 3, MELS)


def test_what_it_cannot_take_is_an_error() -> None:
    with pytest.raises(
        ValueError, match=r"FHVAE is for segments of speech, not for clips with frames of \[3, 64, 64\]"
    ):
        FHVAE(frame_shape=(3, 64, 64), sources=2)
    views = labelled()
    with pytest.raises(ValueError, match="needs the source of each record"):
        small().loss(Views(views.anchor))
    with pytest.raises(ValueError, match="a batch has 3 sources, and the table 2 rows"):
        small(rows=2).loss(views)
    with pytest.raises(ValueError, match=r"frames are \[4\], the model was built for \[5\]"):
        small().encode(torch.zeros(1, 3, 4).double())


def test_the_variance_of_decoded_mels_has_a_lower_bound() -> None:
    """Else the likelihood of a mel that is always the same grows without end."""
    model, x = small(), labelled().anchor
    with torch.no_grad():
        for name, parameter in model.decoder_head.named_parameters():
            if name.endswith("bias"):
                parameter.fill_(-20)
        mels = model.p_mels(torch.zeros(len(x), 3).double(), torch.zeros(len(x), LENGTH, 2).double())
    assert mels.mean.max() < -15
    assert mels.logvar.exp().min().item() == pytest.approx(math.exp(-6))
