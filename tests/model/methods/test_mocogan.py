"""Each term against a loop over its formula, which player moves what, and categories that are read back."""

import math
from typing import Any

import pytest
import torch
from naive_methods import batch_of, reached, seeded
from torch import Tensor, nn
from torch.testing import assert_close

from seqviews.model.layers.fixed import fixed
from seqviews.model.methods.mocogan import MoCoGAN

SHAPE, BATCH, LENGTH, CATEGORIES = (1, 16, 16), 5, 4, 3


def small(categories: int = CATEGORIES, **changes: Any) -> MoCoGAN:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"static_dim": 4, "motion_dim": 3, "width": 0.125, **changes}
    return MoCoGAN(frame_shape=SHAPE, categories=categories, **sizes).double()


def noise(categories: int = CATEGORIES) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Content, noise of the motion, category and the frame that the discriminator of images sees."""
    generator = seeded()
    content = torch.randn(BATCH, 4, generator=generator, dtype=torch.float64)
    motion = torch.randn(BATCH, LENGTH + 1, 3, generator=generator, dtype=torch.float64)
    category = torch.randint(max(1, categories), (BATCH,), generator=generator)
    return content, motion, category, torch.randint(LENGTH, (BATCH,), generator=generator)


def naive_motion(model: MoCoGAN, noise: Tensor) -> Tensor:
    """The states of a GRU by the textbook's equations, from the first of the noise."""
    w = {name: value.detach() for name, value in model.generator.motion.named_parameters()}
    state, states = noise[:, 0], []
    for t in range(1, noise.shape[1]):
        given = (noise[:, t] @ w["weight_ih_l0"].T + w["bias_ih_l0"]).chunk(3, dim=1)
        kept = (state @ w["weight_hh_l0"].T + w["bias_hh_l0"]).chunk(3, dim=1)
        reset, update = (given[0] + kept[0]).sigmoid(), (given[1] + kept[1]).sigmoid()
        state = (1 - update) * (given[2] + reset * kept[2]).tanh() + update * state
        states.append(state)
    return torch.stack(states, dim=1)


def cross_entropy(logits: Tensor, real: bool) -> float:
    values = [1 / (1 + math.exp(-x)) for x in logits.flatten().tolist()]
    return -sum(math.log(p if real else 1 - p) for p in values) / len(values)


def naive_penalty(discriminator: nn.Module, real: Tensor) -> float:
    """The slope of the mean logit of each frame or clip alone, from differences along its gradient."""
    slopes = []
    for x in real:

        def mean_logit(x: Tensor) -> Tensor:
            logits = fixed(discriminator, x[None])
            return (logits[0] if isinstance(logits, tuple) else logits).mean()  # type: ignore[no-any-return]

        (gradient,) = torch.autograd.grad(mean_logit(given := x.clone().requires_grad_()), given)
        step = 1e-5 * gradient / gradient.norm()
        slopes.append(((mean_logit(x + step) - mean_logit(x - step)) / 2e-5).item())
    return sum(slope**2 for slope in slopes) / len(slopes)


def naive_category(logits: Tensor, category: Tensor) -> float:
    rows = zip(logits.tolist(), category.tolist(), strict=True)
    return float(sum(math.log(sum(map(math.exp, row))) - row[chosen] for row, chosen in rows)) / len(logits)


@pytest.mark.parametrize("categories", [0, CATEGORIES])
def test_each_term_is_a_loop_over_its_formula(categories: int) -> None:
    model, x = small(categories), batch_of(SHAPE, BATCH, LENGTH).anchor
    content, motion, category, frame = noise(categories)
    with torch.no_grad():
        z = naive_motion(model, motion)
        if categories:
            one_hot = torch.eye(categories).double()[category]
            z = torch.cat([z, torch.stack([one_hot] * LENGTH, dim=1)], dim=2)

        def made(frames: list[list[int]]) -> Tensor:
            """The generated frames of each clip, in one batch, as batch norm sees it."""
            latents = [torch.cat([content[i], z[i, t]]) for i in range(BATCH) for t in frames[i]]
            made = fixed(model.generator.frames, torch.stack(latents))
            return torch.as_tensor(made).view(BATCH, -1, *SHAPE)

        shown = frame.tolist()
        real_frames = torch.stack([x[i, t] for i, t in enumerate(shown)])
        real = fixed(model.image_discriminator, real_frames)
        fake = fixed(model.image_discriminator, made([[t] for t in shown])[:, 0])
        expected = {"image_loss": cross_entropy(real, True) + cross_entropy(fake, False)}
        real, fake = (fixed(model.video_discriminator, clips) for clips in (x[:, [0, 2]], made([[0, 2]] * BATCH)))
        expected["video_loss"] = cross_entropy(real[0], True) + cross_entropy(fake[0], False)
        clips = made([[0, 1, 2, 3]] * BATCH)
        frames = torch.stack([clips[i, t] for i, t in enumerate(shown)])
        taken = fixed(model.video_discriminator, clips[:, [0, 2]])
        expected["image_fooled"] = cross_entropy(fixed(model.image_discriminator, frames), True)
        expected["video_fooled"] = cross_entropy(taken[0], True)
        if categories:
            expected["category_read"] = naive_category(fake[1], category)
            expected["category_shown"] = naive_category(taken[1], category)
    expected["image_penalty"] = naive_penalty(model.image_discriminator, real_frames)
    expected["video_penalty"] = naive_penalty(model.video_discriminator, x[:, [0, 2]])
    losses = [model.loss(batch_of(SHAPE, BATCH, LENGTH), player, seeded()) for player in model.players]
    terms = {name: value.item() for loss in losses for name, value in loss.terms.items()}
    assert set(terms) == set(expected) <= set(model.curves)
    for name, value in expected.items():
        assert terms[name] == pytest.approx(value, rel=1e-6), name
    for loss in losses:
        weighted = [value.item() * (5 if "penalty" in name else 1) for name, value in loss.terms.items()]
        assert loss.total.item() == pytest.approx(sum(weighted), rel=1e-9)


def test_without_a_weight_there_is_no_penalty() -> None:
    model, views = small(gradient_penalty=0.0), batch_of(SHAPE, BATCH, LENGTH)
    for player in model.players[:2]:
        loss = model.loss(views, player, seeded())
        assert all(value == 0 for name, value in loss.terms.items() if "penalty" in name)
        assert loss.total.item() == pytest.approx(sum(value.item() for value in loss.terms.values()), rel=1e-9)


def test_the_loss_of_every_player_can_be_had_without_gradients() -> None:
    model, views = small(), batch_of(SHAPE, BATCH, LENGTH)
    for player in model.players:
        with torch.no_grad():
            plain = model.loss(views, player, seeded()).total
        assert_close(plain, model.loss(views, player, seeded()).total)


def test_each_player_moves_its_own_part_and_its_own_statistics_only() -> None:
    model, views = small(), batch_of(SHAPE, BATCH, LENGTH)
    for player in model.players:
        before = {name: value.clone() for name, value in model.named_buffers()}
        assert reached(model, model.loss(views, player).total) == {player}
        moved = {
            name.partition(".")[0] for name, value in model.named_buffers() if not torch.equal(value, before[name])
        }
        assert moved == {player} & {"generator"}  # the discriminators have none
    for player, name in zip(model.players[:2], ("image_penalty", "video_penalty"), strict=True):
        assert reached(model, model.loss(views, player).terms[name]) == {player}


def test_content_and_motion_can_be_held_and_the_generator_decides_draws() -> None:
    model = small().eval()
    s, z = model.sample_static(3, seeded()), model.sample_dynamic(3, LENGTH, seeded(4))
    assert (s.shape, z.shape) == ((3, 4), (3, LENGTH, 3 + CATEGORIES))
    assert_close(z[:, 0, 3:], z[:, -1, 3:])  # a category for the whole clip
    assert_close(model.sample(3, LENGTH, seeded()), model.sample(3, LENGTH, seeded()))
    assert model.decode(s, z).shape == (3, LENGTH, *SHAPE)


def test_the_category_is_read_back_from_its_own_clips() -> None:
    model, views = small().float(), batch_of(SHAPE, 16, LENGTH)
    optimizers = {player: model.optimizer(player, 4e-3) for player in model.players}
    for step in range(60):
        torch.manual_seed(step)
        for player, optimizer in optimizers.items():
            optimizer.zero_grad()
            model.loss(type(views)(views.anchor.float()), player).total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.no_grad():
        z = model.sample_dynamic(300, LENGTH, seeded())
        read = model.read_category(model.decode(model.sample_static(300, seeded()), z)).argmax(1)
    assert (read == z[:, 0, 3:].argmax(1)).float().mean() > 0.95


def test_segments_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"MoCoGAN is for clips, not for segments with frames of \[80\]"):
        MoCoGAN(frame_shape=(80,))
